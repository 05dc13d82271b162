"""Given two surfaces of two empty chatledgers, when both are put through the same, then both ledgers tell the same."""

import asyncio

import pytest

from tests.conformance.scenarios import SCENARIOS

DEADLINE = 30.0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_both_surfaces_write_the_same_ledger(scenario, surfaces):
    written = []
    for surface in surfaces:
        try:
            async with asyncio.timeout(DEADLINE):
                await scenario(surface.service)
        finally:
            written.append(await surface.written())
    over_http, in_process = written
    assert over_http
    assert in_process == over_http
