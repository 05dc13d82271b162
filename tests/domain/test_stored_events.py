"""What lies on disks stays readable.

This table is extended by hand. A line that has been released changes only together with a new schema version and an
upcaster; a field that was sealed is never made public.
"""

from typing import get_args

from chatledger.domain.events import REGISTRY, Event
from chatledger.domain.visibility import visibilities

STORED: dict[str, tuple[int, str, str]] = {
    # name: (schema, public fields, sealed fields)
    "MessageCreated": (
        1,
        "conversation_id parent_id app_id end_user_id task_id mode generator prompt_version context_cut",
        "parameters inputs query",
    ),
    "GenerationStarted": (1, "attempt worker base offset", ""),
    "AnswerChunkAppended": (1, "attempt", "text"),
    "ResourcesRetrieved": (1, "attempt", "resources"),
    "GenerationRequeued": (1, "attempt cause not_before", "detail"),
    "StopRequested": (1, "by", ""),
    "MessageStopped": (1, "by attempt offset usage fingerprint", ""),
    "MessageErrored": (1, "attempt code", "message"),
    "MessageCompleted": (1, "attempt usage finish_reason fingerprint", ""),
    "FeedbackGiven": (1, "source rating attempt rated_version", "content"),
    "FeedbackWithdrawn": (1, "source", ""),
    "ConversationStarted": (1, "app_id end_user_id hidden", "name inputs introduction"),
    "AppCreated": (1, "mode", "name"),
    "AppConfigured": (1, "", "configuration"),
    "ApiKeyIssued": (1, "key_id key_hash", ""),
    "ApiKeyRevoked": (1, "key_id", ""),
    "EndUserSeen": (1, "app_id kind anonymous lookup", "external_id"),
    "OperatorTokenIssued": (1, "token_hash scopes", "name"),
    "OperatorTokenRevoked": (1, "", ""),
}


def test_stored_names_schemas_and_fields_are_those_of_the_table() -> None:
    found = {}
    for event_type in REGISTRY:
        declared = visibilities(event_type.body).items()
        public, sealed = (
            " ".join(name for name, visibility in declared if visibility == wanted) for wanted in ("public", "sealed")
        )
        found[event_type.name] = (event_type.schema, public, sealed)
    assert found == STORED


def test_the_union_of_all_events_and_the_registry_name_the_same_types() -> None:
    assert set(get_args(Event)) == {event_type.body for event_type in REGISTRY}


def test_every_event_is_frozen_and_has_no_base_of_its_own() -> None:
    for event_type in REGISTRY:
        assert event_type.body.__struct_config__.frozen
        assert [base.__name__ for base in event_type.body.__bases__] == ["Struct"]
