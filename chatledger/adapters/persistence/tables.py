"""The tables: the ledger, the read models, and operational state."""

from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

METADATA = sa.MetaData()


def successor_of(name: str) -> str:
    """The name of a read model that is being made anew, until it takes that of the live one."""
    return f"{name}_next"


Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class CompactUuid(sa.types.TypeDecorator[UUID]):
    """A UUID in 16 bytes on every database: half of its text, in each row and in each index."""

    impl = sa.Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The type that the database has for it."""
        native: sa.types.TypeEngine[Any] = sa.Uuid() if dialect.name == "postgresql" else sa.LargeBinary(16)
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: UUID | None, dialect: sa.Dialect) -> Any:
        """On its way in."""
        return value if value is None or dialect.name == "postgresql" else value.bytes

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> UUID | None:
        """On its way out."""
        return value if value is None or dialect.name == "postgresql" else UUID(bytes=value)


def _column(
    name: str,
    kind: sa.types.TypeEngine[Any],
    *,
    primary_key: bool = False,
    nullable: bool = False,
    unique: bool = False,
) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=primary_key, nullable=nullable, unique=unique or None, autoincrement=False)


_id = partial(_column, kind=CompactUuid())
_number = partial(_column, kind=Position)
_text = partial(_column, kind=sa.Text())
_bytes = partial(_column, kind=sa.LargeBinary())
_flag = partial(_column, kind=sa.Boolean())


# The ledger. What many events share (the stream's id and key, the type's name and schema) stands once, in a table of
# its own; the view ``ledger`` puts the rows together again for whoever reads with SQL.

HEAD = sa.Table(
    "head",
    METADATA,
    _number("singleton", primary_key=True),
    _number("position"),
    _number("recorded_at"),
    _number("last_stream"),
    _number("read_models"),
    _number("import_through", nullable=True),
    _id("incarnation"),
)

STREAMS = sa.Table(
    "streams",
    METADATA,
    _number("number", primary_key=True),
    _id("stream_id", unique=True),
    _text("category"),
    _id("key_id", nullable=True),
)

EVENT_TYPES = sa.Table(
    "event_types",
    METADATA,
    _number("number", primary_key=True),
    _text("name"),
    _number("schema"),
    sa.UniqueConstraint("name", "schema"),
)

EVENTS = sa.Table(
    "events",
    METADATA,
    _number("position", primary_key=True),
    _number("stream"),
    _number("version"),
    _id("event_id"),
    _number("type"),
    _number("recorded_at"),
    _bytes("public"),
    _bytes("sealed", nullable=True),
    sa.Column("algorithm", sa.SmallInteger(), nullable=False),
    _number("context_position"),
    _bytes("context", nullable=True),
    _bytes("leaf"),
    sa.UniqueConstraint("stream", "version", name="events_stream_version"),
)

# The versions that there are read models of. Those of the version in the head's row are at the head, and the others
# where they were when a release with another version wrote next.

READ_MODEL_VERSIONS = sa.Table(
    "read_model_versions",
    METADATA,
    _number("version", primary_key=True),
    _number("position"),
    _flag("has_successors"),
)

LEDGER_VIEW = """
CREATE VIEW ledger AS
SELECT e.position, s.stream_id, s.category, e.version, e.event_id, t.name, t.schema, e.recorded_at, e.public, e.sealed,
       s.key_id, e.algorithm, e.context_position, e.context, e.leaf
FROM events e JOIN streams s ON s.number = e.stream JOIN event_types t ON t.number = e.type
"""

# How far whoever follows the ledger has come, and what was left out on the way: it has to survive.

TRACKING = sa.Table(
    "tracking",
    METADATA,
    _text("name", primary_key=True),
    _number("position"),
    _number("version", nullable=True),
)

PARKED_STREAMS = sa.Table(
    "parked_streams",
    METADATA,
    _text("subscription", primary_key=True),
    _id("stream_id", primary_key=True),
    _number("version"),
    _number("position"),
    _text("error"),
    _number("parked_at"),
    _flag("is_to_be_retried"),
)

# What the notary has signed is evidence and stays. The roots of the tree's full tiles are made anew from the leaves
# wherever they are missing.

CHECKPOINTS = sa.Table(
    "checkpoints",
    METADATA,
    _number("number", primary_key=True),
    _text("origin"),
    _number("size"),
    _text("note"),
    _number("signed_at"),
    _number("delivered_at", nullable=True),
)
sa.Index("checkpoints_by_size", CHECKPOINTS.c.origin, CHECKPOINTS.c.size, CHECKPOINTS.c.number)
sa.Index(
    "checkpoints_undelivered",
    CHECKPOINTS.c.number,
    sqlite_where=CHECKPOINTS.c.delivered_at.is_(None),
    postgresql_where=CHECKPOINTS.c.delivered_at.is_(None),
)

TILES = sa.Table(
    "tiles",
    METADATA,
    _number("level", primary_key=True),
    _number("number", primary_key=True),
    _bytes("root"),
    sqlite_with_rowid=False,
)

# How far each webhook's endpoint was told, how it does, and the events that it has not taken.

WEBHOOK_PROGRESS = sa.Table(
    "webhook_progress",
    METADATA,
    _id("endpoint_id", primary_key=True),
    _number("position"),
    _number("failures"),
    _number("failing_since", nullable=True),
    _number("paused_until"),
    _number("forgiven"),
    _number("revision"),
)

UNDELIVERED = sa.Table(
    "undelivered",
    METADATA,
    _id("endpoint_id", primary_key=True),
    _number("position", primary_key=True),
    _id("order_id"),
    _number("attempts"),
    _number("due_at"),
    _text("error", nullable=True),
    _number("failed_at", nullable=True),
    _flag("is_dead"),
)

# Of applications on the ``eventsourcing`` library: where their events stand, how far they follow each other, and their
# snapshots, which are disposable.

LIBRARY_EVENTS = sa.Table(
    "library_events",
    METADATA,
    _text("application", primary_key=True),
    _number("position", primary_key=True),
    sqlite_with_rowid=False,
)

LIBRARY_TRACKING = sa.Table(
    "library_tracking",
    METADATA,
    _text("application", primary_key=True),
    _text("upstream", primary_key=True),
    _number("position"),
)

LIBRARY_SNAPSHOTS = sa.Table(
    "library_snapshots",
    METADATA,
    _text("application", primary_key=True),
    _id("stream_id", primary_key=True),
    _number("version", primary_key=True),
    _text("topic"),
    _bytes("state"),
)

# Read models: disposable. Whatever a person wrote is sealed in them.

APPS = sa.Table(
    "apps",
    METADATA,
    _id("app_id", primary_key=True),
    _text("mode"),
    _id("key_id"),
    _number("position"),
    _number("created_at"),
    _text("status"),
    _text("site_code", nullable=True),
    _number("retention_days", nullable=True),
    _bytes("name"),
    _bytes("configuration", nullable=True),
)

# A code that is no longer current is known all the same: whoever uses it is told so.
SITE_CODES = sa.Table("site_codes", METADATA, _text("code", primary_key=True), _id("app_id"))

API_KEYS = sa.Table(
    "api_keys", METADATA, _text("key_hash", primary_key=True), _id("key_id", unique=True), _id("app_id")
)

ANNOTATIONS = sa.Table(
    "annotations",
    METADATA,
    _id("annotation_id", primary_key=True),
    _id("app_id"),
    _id("key_id"),
    _number("position"),
    _number("created_at"),
    _number("updated_at"),
    _bytes("content"),
)
sa.Index("annotations_by_position", ANNOTATIONS.c.app_id, ANNOTATIONS.c.position)

OPERATOR_TOKENS = sa.Table(
    "operator_tokens",
    METADATA,
    _text("token_hash", primary_key=True),
    _id("operator_id", unique=True),
    _id("key_id"),
    _number("position"),
    _number("created_at"),
    _text("scopes"),
    _bytes("content"),
)

END_USERS = sa.Table(
    "end_users",
    METADATA,
    _id("end_user_id", primary_key=True),
    _id("app_id"),
    _text("kind"),
    _text("lookup"),
    _flag("anonymous"),
    _id("key_id"),
    _number("created_at"),
    _bytes("content"),
)
# Not unique: a person whose row was lost is met once more, and a replay gives both of them theirs.
sa.Index("end_users_by_lookup", END_USERS.c.app_id, END_USERS.c.kind, END_USERS.c.lookup)

LEGAL_HOLDS = sa.Table(
    "legal_holds",
    METADATA,
    _id("hold_id", primary_key=True),
    _id("end_user_id"),
    _id("key_id"),
    _number("position"),
    _number("created_at"),
    _bytes("content"),
)
sa.Index("legal_holds_by_person", LEGAL_HOLDS.c.end_user_id, LEGAL_HOLDS.c.position)

# People who are erased, or about to be, and what it took to erase them and what had rested for too long.
ERASURES = sa.Table(
    "erasures",
    METADATA,
    _id("end_user_id", primary_key=True),
    _id("app_id"),
    _id("key_id"),
    _number("requested_position"),
    _number("requested_at"),
    _number("erased_position", nullable=True),
)
sa.Index(
    "erasures_unfinished",
    ERASURES.c.requested_position,
    sqlite_where=ERASURES.c.erased_position.is_(None),
    postgresql_where=ERASURES.c.erased_position.is_(None),
)
ERASED_KEYS = sa.Table("erased_keys", METADATA, _id("key_id", primary_key=True), _number("position"))
sa.Index("erased_keys_by_position", ERASED_KEYS.c.position)

CONVERSATIONS = sa.Table(
    "conversations",
    METADATA,
    _id("conversation_id", primary_key=True),
    _id("app_id"),
    _id("end_user_id"),
    _flag("hidden"),
    _id("key_id"),
    _number("created_at"),
    _number("created_position"),
    _number("updated_at"),
    _number("updated_position"),
    _flag("is_pinned"),
    _flag("is_to_be_named"),
    _flag("is_deleted"),
    _flag("is_erased"),
    _bytes("name"),
    _bytes("content"),
)
for _order in ("created_position", "updated_position"):
    sa.Index(
        f"conversations_by_{_order}",
        CONVERSATIONS.c.end_user_id,
        CONVERSATIONS.c[_order],
        sqlite_where=sa.text("hidden = 0"),
        postgresql_where=sa.text("NOT hidden"),
    )
    sa.Index(
        f"conversations_pinned_by_{_order}",
        CONVERSATIONS.c.end_user_id,
        CONVERSATIONS.c[_order],
        sqlite_where=sa.text("is_pinned = 1"),
        postgresql_where=sa.text("is_pinned"),
    )
sa.Index(
    "conversations_at_rest",
    CONVERSATIONS.c.app_id,
    CONVERSATIONS.c.updated_at,
    sqlite_where=sa.text("is_erased = 0"),
    postgresql_where=sa.text("NOT is_erased"),
)
sa.Index(
    "conversations_to_be_named",
    CONVERSATIONS.c.created_position,
    sqlite_where=sa.text("is_to_be_named = 1"),
    postgresql_where=sa.text("is_to_be_named"),
)

CONVERSATION_VARIABLES = sa.Table(
    "conversation_variables",
    METADATA,
    _id("variable_id", primary_key=True),
    _id("conversation_id"),
    _id("key_id"),
    _text("value_type"),
    _number("position"),
    _number("updated_position"),
    _number("created_at"),
    _number("updated_at"),
    _bytes("content"),
)
sa.Index(
    "conversation_variables_by_position",
    CONVERSATION_VARIABLES.c.conversation_id,
    CONVERSATION_VARIABLES.c.position,
)

MESSAGES = sa.Table(
    "messages",
    METADATA,
    _id("message_id", primary_key=True),
    _id("conversation_id"),
    _id("app_id"),
    _id("end_user_id"),
    _id("parent_id", nullable=True),
    _flag("is_branch"),
    _id("task_id", unique=True),
    _id("key_id"),
    _text("mode"),
    _number("position"),
    _number("created_at"),
    _text("state"),
    _number("attempt"),
    _number("not_before", nullable=True),
    _number("started_at", nullable=True),
    _number("ended_at", nullable=True),
    _number("ended_position", nullable=True),
    _flag("enters_prompts", nullable=True),
    _text("usage", nullable=True),
    _text("stopped_by", nullable=True),
    _text("error_code", nullable=True),
    _text("fingerprint", nullable=True),
    _text("idempotency_key", nullable=True),
    _id("replayed_from", nullable=True),
    _text("on_busy"),
    _flag("waits"),
    _id("annotation_id", nullable=True),
    _number("saved_position", nullable=True),
    _bytes("question"),
    _bytes("answer", nullable=True),
    _bytes("suggestions", nullable=True),
)
sa.Index("messages_by_position", MESSAGES.c.conversation_id, MESSAGES.c.position)
sa.Index(
    "messages_by_parent",
    MESSAGES.c.conversation_id,
    MESSAGES.c.parent_id,
    sqlite_where=sa.text("is_branch = 1"),
    postgresql_where=sa.text("is_branch"),
)
sa.Index(
    "messages_unfinished",
    MESSAGES.c.position,
    sqlite_where=MESSAGES.c.ended_position.is_(None),
    postgresql_where=MESSAGES.c.ended_position.is_(None),
)

sa.Index(
    "messages_unfinished_by_app",
    MESSAGES.c.app_id,
    sqlite_where=MESSAGES.c.ended_position.is_(None),
    postgresql_where=MESSAGES.c.ended_position.is_(None),
)
sa.Index(
    "messages_unfinished_by_conversation",
    MESSAGES.c.conversation_id,
    MESSAGES.c.position,
    sqlite_where=MESSAGES.c.ended_position.is_(None),
    postgresql_where=MESSAGES.c.ended_position.is_(None),
)
sa.Index(
    "messages_by_end",
    MESSAGES.c.conversation_id,
    MESSAGES.c.ended_position,
    MESSAGES.c.position,
    sqlite_where=MESSAGES.c.ended_position.is_not(None),
    postgresql_where=MESSAGES.c.ended_position.is_not(None),
)
sa.Index(
    "messages_by_idempotency_key",
    MESSAGES.c.idempotency_key,
    sqlite_where=MESSAGES.c.idempotency_key.is_not(None),
    postgresql_where=MESSAGES.c.idempotency_key.is_not(None),
)
sa.Index(
    "messages_replayed",
    MESSAGES.c.replayed_from,
    sqlite_where=MESSAGES.c.replayed_from.is_not(None),
    postgresql_where=MESSAGES.c.replayed_from.is_not(None),
)
_COMPARABLE = sa.and_(MESSAGES.c.ended_position.is_(None), MESSAGES.c.fingerprint.is_not(None))
sa.Index(
    "messages_unfinished_by_fingerprint",
    MESSAGES.c.fingerprint,
    sqlite_where=_COMPARABLE,
    postgresql_where=_COMPARABLE,
)

sa.Index(
    "messages_saved",
    MESSAGES.c.end_user_id,
    MESSAGES.c.saved_position,
    sqlite_where=MESSAGES.c.saved_position.is_not(None),
    postgresql_where=MESSAGES.c.saved_position.is_not(None),
)
sa.Index("messages_by_person", MESSAGES.c.end_user_id, MESSAGES.c.position)
sa.Index(
    "messages_annotated",
    MESSAGES.c.app_id,
    MESSAGES.c.annotation_id,
    sqlite_where=MESSAGES.c.annotation_id.is_not(None),
    postgresql_where=MESSAGES.c.annotation_id.is_not(None),
)

# Messages that ended as errored; open until one takes their place, or they are erased.
DEAD_LETTERS = sa.Table(
    "dead_letters",
    METADATA,
    _id("message_id", primary_key=True),
    _id("app_id"),
    _id("conversation_id"),
    _text("generator"),
    _text("error_code"),
    _number("position"),
    _flag("is_open"),
)
sa.Index("dead_letters_by_position", DEAD_LETTERS.c.is_open, DEAD_LETTERS.c.error_code, DEAD_LETTERS.c.position)
sa.Index("dead_letters_of_conversation", DEAD_LETTERS.c.conversation_id)
sa.Index(
    "dead_letters_of_app",
    DEAD_LETTERS.c.app_id,
    DEAD_LETTERS.c.is_open,
    DEAD_LETTERS.c.error_code,
    DEAD_LETTERS.c.position,
)

FILES = sa.Table(
    "files",
    METADATA,
    _id("file_id", primary_key=True),
    _id("app_id"),
    _id("end_user_id"),
    _id("key_id"),
    _text("kind"),
    _text("belongs_to"),
    _text("mime_type"),
    _number("size"),
    _number("created_at"),
    _flag("is_erased"),
    _bytes("content"),
)
sa.Index("files_by_person", FILES.c.end_user_id, FILES.c.created_at)
sa.Index(
    "files_at_rest",
    FILES.c.app_id,
    FILES.c.created_at,
    sqlite_where=sa.text("is_erased = 0"),
    postgresql_where=sa.text("NOT is_erased"),
)

# Which conversations show a file, in a message or a variable. A deleted one is no longer among the conversations.
FILE_REFERENCES = sa.Table(
    "file_references", METADATA, _id("file_id", primary_key=True), _id("conversation_id", primary_key=True)
)
sa.Index("file_references_by_conversation", FILE_REFERENCES.c.conversation_id)

# What the answers of an app have cost. A day is so many days after 1970-01-01, in UTC.
TOKEN_USAGE = sa.Table(
    "token_usage", METADATA, _id("app_id", primary_key=True), _number("day", primary_key=True), _number("tokens")
)

FEEDBACKS = sa.Table(
    "feedbacks",
    METADATA,
    _id("message_id", primary_key=True),
    _text("source", primary_key=True),
    _id("feedback_id"),
    _id("app_id"),
    _id("conversation_id"),
    _id("end_user_id", nullable=True),
    _id("key_id"),
    _text("rating"),
    _bytes("content"),
    _number("position"),
    _number("created_at"),
    _number("updated_at"),
)
sa.Index("feedbacks_by_time", FEEDBACKS.c.app_id, FEEDBACKS.c.created_at, FEEDBACKS.c.position)

sa.Index("feedbacks_by_conversation", FEEDBACKS.c.conversation_id)

# What was ever rated, from the first position of the rating on up to its withdrawal; 0 for one that stands.
RATINGS = sa.Table(
    "ratings",
    METADATA,
    _id("message_id", primary_key=True),
    _text("source", primary_key=True),
    _number("withdrawn_position", primary_key=True),
    _id("app_id"),
    _number("position"),
)
sa.Index("ratings_by_position", RATINGS.c.app_id, RATINGS.c.position)

# The names that people gave to their conversations: what moved these in lists, beside their messages.
RENAMINGS = sa.Table(
    "renamings",
    METADATA,
    _id("conversation_id", primary_key=True),
    _number("position", primary_key=True),
    _id("end_user_id"),
)
sa.Index("renamings_by_person", RENAMINGS.c.end_user_id, RENAMINGS.c.position)

# Events of messages that are no part of their generations, and may come years after: who gives the events of a
# conversation in order finds them here.
LATER_EVENTS = sa.Table(
    "later_events",
    METADATA,
    _number("position", primary_key=True),
    _id("conversation_id"),
    _id("message_id"),
    _number("version"),
)
sa.Index("later_events_of_conversation", LATER_EVENTS.c.conversation_id, LATER_EVENTS.c.position)

# What checkpoints are signed with; the newest one signs.
NOTARY_KEYS = sa.Table("notary_keys", METADATA, _number("position", primary_key=True), _text("verifier_key"))

WEBHOOKS = sa.Table(
    "webhooks",
    METADATA,
    _id("endpoint_id", primary_key=True),
    _id("app_id", nullable=True),
    _id("key_id"),
    _number("position"),
    _number("created_at"),
    _text("types"),
    _number("after"),
    _text("disabled_for", nullable=True),
    _bytes("url"),
    _bytes("secrets"),
)

# Operational state: may be lost at any time, and is never a source of truth.

LEASES = sa.Table(
    "leases",
    METADATA,
    _id("message_id", primary_key=True),
    _text("worker"),
    _number("attempt"),
    _number("expires_at"),
)
sa.Index("leases_by_worker", LEASES.c.worker)

# Which node does what is to be done by one at a time. A token never falls: a row is never deleted.

PROCESS_LEASES = sa.Table(
    "process_leases",
    METADATA,
    _text("name", primary_key=True),
    _text("holder"),
    _number("token"),
    _number("expires_at"),
)
