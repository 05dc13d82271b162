"""An app: its mode for life, its configuration, its keys."""

from uuid import UUID

import msgspec

from chatledger.domain.app import App, AppConfiguration
from chatledger.domain.errors import InvalidInputError
from chatledger.domain.events import ApiKeyIssued, ApiKeyRevoked, AppConfigured, AppCreated
from chatledger.domain.inputs import InputVariable
from tests.domain.specification import AN_ID, given

KEYS = [UUID(int=number) for number in range(1, 4)]

chosen = AppConfiguration(
    generator="scripted",
    settings={"tokens": 3},
    tags=("demo",),
    user_input_form=(InputVariable(variable="tone", type="select", options=("kind", "dry")),),
)
other = AppConfiguration(generator="extractive")
contradictory = AppConfiguration(generator="scripted", user_input_form=(InputVariable(variable=""),))

set_up = AppCreated(mode="chat", name="Helper")


def configured(configuration: AppConfiguration) -> AppConfigured:
    """As a ledger gives it back: plain JSON."""
    return AppConfigured(configuration=msgspec.json.decode(msgspec.json.encode(configuration)))


def issued(number: int) -> ApiKeyIssued:
    return ApiKeyIssued(key_id=KEYS[number], key_hash=f"hash-{number}")


def create(configuration: AppConfiguration):
    return lambda _: App.create(AN_ID, mode="chat", name="Helper", configuration=configuration)


def test_an_app_is_set_up_with_its_configuration() -> None:
    given(App).when(create(chosen)).then(set_up, configured(chosen))


def test_an_app_with_a_contradictory_form_is_not_set_up() -> None:
    refusal = given(App).when(create(contradictory)).then_refused(InvalidInputError)
    assert refusal.field == "user_input_form"


def test_a_new_configuration_replaces_the_old_one_whole() -> None:
    given(App, set_up, configured(chosen)).when(lambda app: app.configure(other)).then(configured(other))


def test_the_same_configuration_again_is_no_fact() -> None:
    given(App, set_up, configured(chosen)).when(lambda app: app.configure(chosen)).then()


def test_a_contradictory_form_does_not_replace_a_good_one() -> None:
    given(App, set_up, configured(chosen)).when(lambda app: app.configure(contradictory)).then_refused(
        InvalidInputError
    )


def test_a_key_is_issued_beside_the_others() -> None:
    given(App, set_up, issued(0)).when(lambda app: app.issue_key(KEYS[1], "hash-1")).then(issued(1))


def test_rotation_issues_one_key_and_revokes_all_earlier_ones() -> None:
    given(App, set_up, issued(0), issued(1)).when(lambda app: app.rotate_key(KEYS[2], "hash-2")).then(
        issued(2), ApiKeyRevoked(key_id=KEYS[0]), ApiKeyRevoked(key_id=KEYS[1])
    )


def test_rotation_of_an_app_without_keys_only_issues_one() -> None:
    given(App, set_up).when(lambda app: app.rotate_key(KEYS[0], "hash-0")).then(issued(0))


def test_how_an_app_is_seen() -> None:
    history = [set_up, configured(chosen), issued(0), issued(1), ApiKeyRevoked(key_id=KEYS[0])]
    given(App, *history).is_seen_as(mode="chat", name="Helper", configuration=chosen, key_ids={KEYS[1]: "hash-1"})
