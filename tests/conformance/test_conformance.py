"""Given two surfaces of two empty chatledgers, when both are put through the same, then both ledgers tell the same."""

import asyncio

import pytest

from tests.conformance.ledger_log import head_of, log_of
from tests.conformance.scenarios import SCENARIOS

DEADLINE = 30.0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_both_surfaces_write_the_same_ledger(scenario, surfaces):
    logs = []
    for surface in surfaces:
        before = await head_of(surface.settings)
        async with asyncio.timeout(DEADLINE):
            await scenario(surface.service)
        logs.append(await log_of(surface.settings, before))
    over_http, in_process = logs
    assert over_http
    assert in_process == over_http
