"""A webhook: registered once, removed once."""

from chatledger.domain.events import EndpointRegistered, EndpointRemoved
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
