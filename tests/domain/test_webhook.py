"""A webhook: registered once, removed once, and what may happen between."""

from datetime import UTC, datetime

import pytest

from chatledger.domain.errors import EndpointRemovedError
from chatledger.domain.events import (
    EndpointDisabled,
    EndpointEnabled,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
)
from chatledger.domain.webhook import Webhook
from tests.domain.facts import APP
from tests.domain.specification import AN_ID, given

registered = EndpointRegistered(
    app_id=APP, types=("MessageCompleted", "MessageCreated"), after=7, url="https://example.org/hook", secret="whsec_x"
)


def test_an_endpoint_is_registered_with_each_type_once_in_order() -> None:
    given(Webhook).when(
        lambda _: Webhook.register(
            AN_ID,
            app_id=APP,
            types=["MessageCreated", "MessageCompleted", "MessageCreated"],
            after=7,
            url="https://example.org/hook",
            secret="whsec_x",
        )
    ).then(registered)


def test_an_endpoint_is_removed_once() -> None:
    given(Webhook, registered).when(lambda webhook: webhook.remove()).then(EndpointRemoved())
    given(Webhook, registered, EndpointRemoved()).when(lambda webhook: webhook.remove()).then()
    given(Webhook, registered, EndpointRemoved()).is_seen_as(registered=registered, is_removed=True)


UNTIL = datetime(2026, 11, 27, tzinfo=UTC)
rotated = EndpointSecretRotated(previous_until=UNTIL, secret="whsec_y", previous="whsec_x")


def test_a_secret_makes_way_for_another_and_stays_in_force_for_a_while():
    given(Webhook, registered).when(lambda webhook: webhook.rotate_secret("whsec_y", UNTIL)).then(rotated)
    given(Webhook, registered, rotated).when(lambda webhook: webhook.rotate_secret("whsec_z", UNTIL)).then(
        EndpointSecretRotated(previous_until=UNTIL, secret="whsec_z", previous="whsec_y")
    )


def test_it_is_disabled_and_enabled_once_each():
    disabled = EndpointDisabled(cause="failing")
    given(Webhook, registered).when(lambda webhook: webhook.disable("failing")).then(disabled)
    given(Webhook, registered, disabled).when(lambda webhook: webhook.disable("gone")).then()
    given(Webhook, registered, disabled).is_seen_as(disabled_for="failing", secret="whsec_x")
    given(Webhook, registered, disabled).when(lambda webhook: webhook.enable()).then(EndpointEnabled())
    given(Webhook, registered).when(lambda webhook: webhook.enable()).then()
    given(Webhook, registered, disabled, EndpointEnabled()).is_seen_as(disabled_for=None)


@pytest.mark.parametrize(
    "command",
    [
        lambda webhook: webhook.rotate_secret("whsec_y", UNTIL),
        lambda webhook: webhook.disable("operator"),
        lambda webhook: webhook.enable(),
    ],
)
def test_nothing_can_be_done_with_one_that_is_removed(command):
    given(Webhook, registered, EndpointRemoved()).when(command).then_refused(EndpointRemovedError)
