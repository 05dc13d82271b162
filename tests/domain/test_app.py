"""An app: its mode for life, its configuration, its keys."""

from uuid import UUID

import msgspec
import pytest

from chatledger.domain.annotation import MAX_ANNOTATIONS
from chatledger.domain.app import LONGEST_RETENTION, App
from chatledger.domain.configuration import AppConfiguration
from chatledger.domain.errors import AppDeletedError, InvalidInputError, NoSuchAnnotationError, TooManyAnnotationsError
from chatledger.domain.events import (
    AnnotationAdded,
    AnnotationChanged,
    AnnotationRemoved,
    ApiKeyIssued,
    ApiKeyRevoked,
    AppConfigured,
    AppCreated,
    AppDeleted,
    AppDisabled,
    AppEnabled,
    RetentionSet,
    SiteCodeIssued,
)
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


def test_completions_take_no_turns() -> None:
    in_turn = AppConfiguration(generator="scripted", on_busy="queue")
    creating = lambda _: App.create(AN_ID, mode="completion", name="Helper", configuration=in_turn)  # noqa: E731
    assert given(App).when(creating).then_refused(InvalidInputError).field == "on_busy"
    given(App).when(create(in_turn)).then(set_up, configured(in_turn))


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


ANNOTATION = UUID(int=9)
added = AnnotationAdded(annotation_id=ANNOTATION, question="Open?", answer="From nine.")
changed = AnnotationChanged(annotation_id=ANNOTATION, question="Open?", answer="From ten.")
removed = AnnotationRemoved(ANNOTATION)
enabled, disabled, deleted = AppEnabled(), AppDisabled(), AppDeleted()


def change(answer: str):
    return lambda app: app.change_annotation(ANNOTATION, "Open?", answer)


FOLLOWS = [
    ("a code of its site", [set_up], lambda app: app.issue_site_code("abc"), [SiteCodeIssued("abc")]),
    ("it is disabled", [set_up], App.disable, [disabled]),
    ("it is disabled already", [set_up, disabled], App.disable, []),
    ("it is enabled", [set_up, disabled], App.enable, [enabled]),
    ("it is enabled already", [set_up], App.enable, []),
    ("it is deleted", [set_up], App.delete, [deleted]),
    ("a disabled one is deleted", [set_up, disabled], App.delete, [deleted]),
    ("an annotation", [set_up], lambda app: app.add_annotation(ANNOTATION, "Open?", "From nine."), [added]),
    ("an annotation changes", [set_up, added], change("From ten."), [changed]),
    ("an annotation stays as it is", [set_up, added], change("From nine."), []),
    ("an annotation is removed", [set_up, added], lambda app: app.remove_annotation(ANNOTATION), [removed]),
]


@pytest.mark.parametrize(("history", "command", "events"), [pytest.param(*row, id=name) for name, *row in FOLLOWS])
def test_what_follows(history, command, events) -> None:
    given(App, *history).when(command).then(*events)


@pytest.mark.parametrize("command", [change("x"), lambda app: app.remove_annotation(ANNOTATION)])
def test_an_annotation_that_there_is_not_cannot_be_touched(command) -> None:
    given(App, set_up, added, removed).when(command).then_refused(NoSuchAnnotationError)


def test_annotations_are_no_more_than_a_question_can_be_compared_with() -> None:
    full = [msgspec.structs.replace(added, annotation_id=UUID(int=number)) for number in range(MAX_ANNOTATIONS)]
    one_more = lambda app: app.add_annotation(ANNOTATION, "Open?", "From nine.")  # noqa: E731
    given(App, set_up, *full).when(one_more).then_refused(TooManyAnnotationsError)
    given(App, set_up, *full[1:]).when(one_more).then(added)


@pytest.mark.parametrize(
    "command",
    [
        lambda app: app.configure(chosen),
        lambda app: app.issue_key(KEYS[0], "hash-0"),
        lambda app: app.rotate_key(KEYS[0], "hash-0"),
        lambda app: app.issue_site_code("abc"),
        App.disable,
        App.enable,
        App.delete,
        lambda app: app.add_annotation(ANNOTATION, "Open?", "From nine."),
        change("x"),
        lambda app: app.remove_annotation(ANNOTATION),
    ],
)
def test_nothing_can_be_done_with_a_deleted_app(command) -> None:
    given(App, set_up, added, deleted).when(command).then_refused(AppDeletedError)


def test_how_its_state_and_its_annotations_are_seen() -> None:
    given(App, set_up, SiteCodeIssued("a"), SiteCodeIssued("b"), disabled, added, changed).is_seen_as(
        site_code="b", status="disabled", annotations={ANNOTATION: ("Open?", "From ten.")}
    )
    given(App, set_up, disabled, enabled, added, removed).is_seen_as(status="normal", annotations={})
    given(App, set_up, deleted).is_seen_as(status="deleted")


@pytest.mark.parametrize("days", [1, 30, LONGEST_RETENTION])
def test_a_time_of_retention_is_set_and_taken_back(days) -> None:
    kept = RetentionSet(days=days)
    given(App, set_up).when(lambda app: app.set_retention(days)).then(kept)
    given(App, set_up, kept).when(lambda app: app.set_retention(days)).then()
    given(App, set_up, kept).when(lambda app: app.set_retention(None)).then(RetentionSet(days=None))
    given(App, set_up, kept).is_seen_as(retention_days=days)


@pytest.mark.parametrize("days", [0, -1, LONGEST_RETENTION + 1])
def test_what_is_no_number_of_days_is_refused(days) -> None:
    refusal = given(App, set_up).when(lambda app: app.set_retention(days)).then_refused(InvalidInputError)
    assert refusal.field == "retention_days"


def test_a_deleted_app_takes_no_retention() -> None:
    given(App, set_up, AppDeleted()).when(lambda app: app.set_retention(1)).then_refused(AppDeletedError)
