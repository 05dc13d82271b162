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
        (
            "conversation_id parent_id app_id end_user_id task_id mode generator prompt_version context_cut "
            "context_tokens fingerprint idempotency_key on_busy on_disconnect replayed_from"
        ),
        "parameters inputs query files",
    ),
    "GenerationStarted": (1, "attempt worker base offset context_cut", ""),
    "AnswerChunkAppended": (1, "attempt", "text"),
    "AnswerReplaced": (1, "attempt reason", "text"),
    "AgentThoughtRecorded": (
        1,
        "attempt thought_id position files",
        "thought tool tool_labels tool_input observation",
    ),
    "FileAttached": (1, "attempt", "file"),
    "ModerationHit": (1, "attempt stage action", "query"),
    "AnnotationMatched": (1, "attempt annotation_id score", "account"),
    "ResourcesRetrieved": (1, "attempt", "resources"),
    "GenerationRequeued": (1, "attempt cause not_before", "detail"),
    "StopRequested": (1, "by", ""),
    "MessageStopped": (1, "by attempt offset usage fingerprint", ""),
    "MessageErrored": (1, "attempt code", "message"),
    "MessageCompleted": (1, "attempt usage finish_reason fingerprint", ""),
    "FeedbackGiven": (1, "source rating attempt rated_version", "content"),
    "FeedbackWithdrawn": (1, "source", ""),
    "SuggestedQuestionsProposed": (1, "", "questions"),
    "MessageSaved": (1, "", ""),
    "MessageUnsaved": (1, "", ""),
    "ConversationStarted": (1, "app_id end_user_id hidden automatic_name", "name inputs introduction"),
    "ConversationRenamed": (1, "by end_user_id", "name"),
    "ConversationVariableSet": (1, "variable_id value_type", "name value description"),
    "ConversationPinned": (1, "", ""),
    "ConversationUnpinned": (1, "", ""),
    "ConversationDeleted": (1, "", ""),
    "ConversationErased": (1, "cause", ""),
    "AppCreated": (1, "mode", "name"),
    "AppConfigured": (1, "", "configuration"),
    "ApiKeyIssued": (1, "key_id key_hash", ""),
    "ApiKeyRevoked": (1, "key_id", ""),
    "SiteCodeIssued": (1, "code", ""),
    "AppDisabled": (1, "", ""),
    "AppEnabled": (1, "", ""),
    "AppDeleted": (1, "", ""),
    "AnnotationAdded": (1, "annotation_id", "question answer"),
    "AnnotationChanged": (1, "annotation_id", "question answer"),
    "AnnotationRemoved": (1, "annotation_id", ""),
    "RetentionSet": (1, "days", ""),
    "FileUploaded": (1, "app_id end_user_id kind belongs_to size mime_type", "name"),
    "FileErased": (1, "cause", ""),
    "EndUserSeen": (1, "app_id kind anonymous", "lookup external_id"),
    "LegalHoldPlaced": (1, "hold_id", "reason"),
    "LegalHoldReleased": (1, "hold_id", ""),
    "ErasureRequested": (1, "app_id", ""),
    "EndUserErased": (1, "conversations files", ""),
    "EndUserKeyRotated": (1, "keys", ""),
    "OperatorTokenIssued": (1, "token_hash scopes", "name"),
    "OperatorTokenRevoked": (1, "", ""),
    "ContentRead": (1, "subject subject_id", ""),
    "NotaryKeyIntroduced": (1, "verifier_key", ""),
    "MasterKeyRotated": (1, "keys", ""),
    "EndpointRegistered": (1, "app_id types after", "url secret"),
    "EndpointSecretRotated": (1, "previous_until", "secret previous"),
    "EndpointDisabled": (1, "cause", ""),
    "EndpointEnabled": (1, "", ""),
    "EndpointRemoved": (1, "", ""),
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
