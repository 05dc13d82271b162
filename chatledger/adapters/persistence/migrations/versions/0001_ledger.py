"""The ledger, its read models, and operational state.

It spells out every table, whatever ``tables.py`` may say one day: a revision is history and does not change.
"""

from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from chatledger.application.ledger.projections import READ_MODELS_VERSION

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id(name: str, **options: Any) -> sa.Column[Any]:
    options.setdefault("nullable", False)
    return sa.Column(name, ID, **options)


def _number(name: str, **options: Any) -> sa.Column[Any]:
    options.setdefault("nullable", False)
    return sa.Column(name, NUMBER, **options)


def _text(name: str, **options: Any) -> sa.Column[Any]:
    options.setdefault("nullable", False)
    return sa.Column(name, sa.Text(), **options)


def _bytes(name: str, **options: Any) -> sa.Column[Any]:
    options.setdefault("nullable", False)
    return sa.Column(name, sa.LargeBinary(), **options)


# What PostgreSQL does by itself. The lock and the reading of the head are never one statement: its snapshot would be
# older than the lock.
POSTGRES_FUNCTIONS = """
CREATE FUNCTION ledger_lock() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('chatledger ledger of ' || current_schema(), 0));
END $$;

CREATE FUNCTION ledger_channel() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left('chatledger_' || current_schema(), 63)
$$;

CREATE FUNCTION ledger_append(
    stream_numbers bigint[], stream_ids uuid[], categories text[], key_ids uuid[],
    positions bigint[], streams_of bigint[], versions bigint[], event_ids uuid[], types bigint[], times bigint[],
    publics bytea[], sealeds bytea[], algorithms smallint[], context_positions bigint[], contexts bytea[],
    leaves bytea[], head_position bigint, head_recorded_at bigint, head_last_stream bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(stream_numbers) > 0 THEN
        INSERT INTO streams (number, stream_id, category, key_id)
        SELECT * FROM unnest(stream_numbers, stream_ids, categories, key_ids);
    END IF;
    IF cardinality(positions) > 0 THEN
        INSERT INTO events (position, stream, version, event_id, type, recorded_at, public, sealed, algorithm,
                            context_position, context, leaf)
        SELECT * FROM unnest(positions, streams_of, versions, event_ids, types, times, publics, sealeds, algorithms,
                             context_positions, contexts, leaves);
    END IF;
    UPDATE head SET position = head_position, recorded_at = head_recorded_at, last_stream = head_last_stream;
    PERFORM pg_notify(ledger_channel(), head_position::text);
END $$;

ALTER TABLE events ALTER COLUMN sealed SET STORAGE EXTERNAL;
"""

# The task queue, which adapters/queue/postgres_tasks.py alone reads and writes, and the channel for news of it. It may
# be lost: after a crash of the server it is empty. Rows live for moments; what they leave is cleared away often.
POSTGRES_QUEUE = """
CREATE UNLOGGED TABLE queued_tasks (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id uuid NOT NULL,
    attempt integer NOT NULL,
    dispatch integer NOT NULL,
    item json NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    holder uuid,
    deliveries integer NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE UNIQUE INDEX queued_tasks_waiting ON queued_tasks (task_id, attempt, dispatch) WHERE holder IS NULL;

CREATE FUNCTION queue_channel() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left('chatledger_queue_' || current_schema(), 63)
$$;
"""


def upgrade() -> None:
    _create_ledger()
    _create_library_tables()
    _create_read_models()
    _create_operational_state()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRES_FUNCTIONS)
        op.execute(POSTGRES_QUEUE)


def _create_ledger() -> None:
    head = op.create_table(
        "head",
        _number("singleton", primary_key=True, autoincrement=False),
        _number("position"),
        _number("recorded_at"),
        _number("last_stream"),
        _number("read_models"),
        _number("import_through", nullable=True),
        _id("incarnation"),
    )
    op.create_table(
        "streams",
        _number("number", primary_key=True, autoincrement=False),
        _id("stream_id", unique=True),
        _text("category"),
        _id("key_id", nullable=True),
    )
    op.create_table(
        "event_types",
        _number("number", primary_key=True, autoincrement=False),
        _text("name"),
        _number("schema"),
        sa.UniqueConstraint("name", "schema"),
    )
    op.create_table(
        "events",
        _number("position", primary_key=True, autoincrement=False),
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
    op.execute("""
CREATE VIEW ledger AS
SELECT e.position, s.stream_id, s.category, e.version, e.event_id, t.name, t.schema, e.recorded_at, e.public, e.sealed,
       s.key_id, e.algorithm, e.context_position, e.context, e.leaf
FROM events e JOIN streams s ON s.number = e.stream JOIN event_types t ON t.number = e.type
""")
    op.create_table("tracking", _text("name", primary_key=True), _number("position"), _number("version", nullable=True))
    op.create_table(
        "parked_streams",
        _text("subscription", primary_key=True),
        _id("stream_id", primary_key=True),
        _number("version"),
        _number("position"),
        _text("error"),
        _number("parked_at"),
        sa.Column("is_to_be_retried", sa.Boolean(), nullable=False),
    )
    _create_delivery_tables()
    _create_notary_tables()
    incarnation = uuid4()
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    # Read models without a row are those of any version.
    first = {
        "singleton": 1,
        "position": 0,
        "recorded_at": 0,
        "last_stream": 0,
        "read_models": READ_MODELS_VERSION,
        "incarnation": incarnation.bytes if on_sqlite else incarnation,
    }
    op.bulk_insert(head, [first])


def _create_notary_tables() -> None:
    op.create_table(
        "checkpoints",
        _number("number", primary_key=True, autoincrement=False),
        _text("origin"),
        _number("size"),
        _text("note"),
        _number("signed_at"),
        _number("delivered_at", nullable=True),
    )
    op.create_index("checkpoints_by_size", "checkpoints", ["origin", "size", "number"])
    op.create_index(
        "checkpoints_undelivered",
        "checkpoints",
        ["number"],
        sqlite_where=sa.text("delivered_at IS NULL"),
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "tiles",
        _number("level", primary_key=True, autoincrement=False),
        _number("number", primary_key=True, autoincrement=False),
        _bytes("root"),
        sqlite_with_rowid=False,
    )


def _create_delivery_tables() -> None:
    op.create_table(
        "webhook_progress",
        _id("endpoint_id", primary_key=True),
        _number("position"),
        _number("failures"),
        _number("failing_since", nullable=True),
        _number("paused_until"),
        _number("forgiven"),
    )
    op.create_table(
        "undelivered",
        _id("endpoint_id", primary_key=True),
        _number("position", primary_key=True, autoincrement=False),
        _id("order_id"),
        _number("attempts"),
        _number("due_at"),
        _text("error", nullable=True),
        _number("failed_at", nullable=True),
        sa.Column("is_dead", sa.Boolean(), nullable=False),
    )


def _create_library_tables() -> None:
    op.create_table(
        "library_events",
        _text("application", primary_key=True),
        _number("position", primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "library_tracking",
        _text("application", primary_key=True),
        _text("upstream", primary_key=True),
        _number("position"),
    )
    op.create_table(
        "library_snapshots",
        _text("application", primary_key=True),
        _id("stream_id", primary_key=True),
        _number("version", primary_key=True, autoincrement=False),
        _text("topic"),
        _bytes("state"),
    )


def _create_read_models() -> None:
    op.create_table(
        "apps",
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
    op.create_table(
        "site_codes",
        _text("code", primary_key=True),
        _id("app_id"),
    )
    op.create_table(
        "annotations",
        _id("annotation_id", primary_key=True),
        _id("app_id"),
        _id("key_id"),
        _number("position"),
        _number("created_at"),
        _number("updated_at"),
        _bytes("content"),
    )
    op.create_index("annotations_by_position", "annotations", ["app_id", "position"])
    op.create_table("api_keys", _text("key_hash", primary_key=True), _id("key_id", unique=True), _id("app_id"))
    op.create_table(
        "operator_tokens",
        _text("token_hash", primary_key=True),
        _id("operator_id", unique=True),
        _id("key_id"),
        _number("position"),
        _number("created_at"),
        _text("scopes"),
        _bytes("content"),
    )
    op.create_table(
        "end_users",
        _id("end_user_id", primary_key=True),
        _id("app_id"),
        _text("kind"),
        _text("lookup"),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        _id("key_id"),
        _number("created_at"),
        _bytes("content"),
    )
    op.create_index("end_users_by_lookup", "end_users", ["app_id", "kind", "lookup"])
    _create_erasures()
    _create_conversations()
    _create_messages()
    _create_dead_letters()
    _create_files()
    op.create_table(
        "feedbacks",
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
    op.create_index("feedbacks_by_time", "feedbacks", ["app_id", "created_at", "position"])
    op.create_index("feedbacks_by_conversation", "feedbacks", ["conversation_id"])
    _create_memories()
    op.create_table("notary_keys", _number("position", primary_key=True, autoincrement=False), _text("verifier_key"))
    op.create_table(
        "webhooks",
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
    op.create_table("token_usage", _id("app_id", primary_key=True), _number("day", primary_key=True), _number("tokens"))


def _create_memories() -> None:
    """What the other read models forget, and questions about the past need."""
    op.create_table(
        "ratings",
        _id("message_id", primary_key=True),
        _text("source", primary_key=True),
        _number("withdrawn_position", primary_key=True, autoincrement=False),
        _id("app_id"),
        _number("position"),
    )
    op.create_index("ratings_by_position", "ratings", ["app_id", "position"])
    op.create_table(
        "renamings",
        _id("conversation_id", primary_key=True),
        _number("position", primary_key=True, autoincrement=False),
        _id("end_user_id"),
    )
    op.create_index("renamings_by_person", "renamings", ["end_user_id", "position"])
    op.create_table(
        "later_events",
        _number("position", primary_key=True, autoincrement=False),
        _id("conversation_id"),
        _id("message_id"),
        _number("version"),
    )
    op.create_index("later_events_of_conversation", "later_events", ["conversation_id", "position"])


def _create_erasures() -> None:
    op.create_table(
        "legal_holds",
        _id("hold_id", primary_key=True),
        _id("end_user_id"),
        _id("key_id"),
        _number("position"),
        _number("created_at"),
        _bytes("content"),
    )
    op.create_index("legal_holds_by_person", "legal_holds", ["end_user_id", "position"])
    op.create_table(
        "erasures",
        _id("end_user_id", primary_key=True),
        _id("app_id"),
        _id("key_id"),
        _number("requested_position"),
        _number("requested_at"),
        _number("erased_position", nullable=True),
    )
    op.create_index(
        "erasures_unfinished",
        "erasures",
        ["requested_position"],
        sqlite_where=sa.text("erased_position IS NULL"),
        postgresql_where=sa.text("erased_position IS NULL"),
    )
    op.create_table("erased_keys", _id("key_id", primary_key=True), _number("position"))
    op.create_index("erased_keys_by_position", "erased_keys", ["position"])


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        _id("conversation_id", primary_key=True),
        _id("app_id"),
        _id("end_user_id"),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        _id("key_id"),
        _number("created_at"),
        _number("created_position"),
        _number("updated_at"),
        _number("updated_position"),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("is_to_be_named", sa.Boolean(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.Column("is_erased", sa.Boolean(), nullable=False),
        _bytes("name"),
        _bytes("content"),
    )
    op.create_table(
        "conversation_variables",
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
    op.create_index("conversation_variables_by_position", "conversation_variables", ["conversation_id", "position"])
    for order in ("created_position", "updated_position"):
        op.create_index(
            f"conversations_by_{order}",
            "conversations",
            ["end_user_id", order],
            sqlite_where=sa.text("hidden = 0"),
            postgresql_where=sa.text("NOT hidden"),
        )
        op.create_index(
            f"conversations_pinned_by_{order}",
            "conversations",
            ["end_user_id", order],
            sqlite_where=sa.text("is_pinned = 1"),
            postgresql_where=sa.text("is_pinned"),
        )
    op.create_index(
        "conversations_at_rest",
        "conversations",
        ["app_id", "updated_at"],
        sqlite_where=sa.text("is_erased = 0"),
        postgresql_where=sa.text("NOT is_erased"),
    )
    op.create_index(
        "conversations_to_be_named",
        "conversations",
        ["created_position"],
        sqlite_where=sa.text("is_to_be_named = 1"),
        postgresql_where=sa.text("is_to_be_named"),
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        _id("message_id", primary_key=True),
        _id("conversation_id"),
        _id("app_id"),
        _id("end_user_id"),
        _id("parent_id", nullable=True),
        sa.Column("is_branch", sa.Boolean(), nullable=False),
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
        sa.Column("enters_prompts", sa.Boolean(), nullable=True),
        _text("usage", nullable=True),
        _text("stopped_by", nullable=True),
        _text("error_code", nullable=True),
        _text("fingerprint", nullable=True),
        _text("idempotency_key", nullable=True),
        _id("replayed_from", nullable=True),
        _text("on_busy"),
        sa.Column("waits", sa.Boolean(), nullable=False),
        _id("annotation_id", nullable=True),
        _number("saved_position", nullable=True),
        _bytes("question"),
        _bytes("answer", nullable=True),
        _bytes("suggestions", nullable=True),
    )
    op.create_index("messages_by_position", "messages", ["conversation_id", "position"])
    op.create_index(
        "messages_by_parent",
        "messages",
        ["conversation_id", "parent_id"],
        sqlite_where=sa.text("is_branch = 1"),
        postgresql_where=sa.text("is_branch"),
    )
    op.create_index(
        "messages_unfinished",
        "messages",
        ["position"],
        sqlite_where=sa.text("ended_position IS NULL"),
        postgresql_where=sa.text("ended_position IS NULL"),
    )

    op.create_index(
        "messages_unfinished_by_app",
        "messages",
        ["app_id"],
        sqlite_where=sa.text("ended_position IS NULL"),
        postgresql_where=sa.text("ended_position IS NULL"),
    )
    op.create_index(
        "messages_unfinished_by_conversation",
        "messages",
        ["conversation_id", "position"],
        sqlite_where=sa.text("ended_position IS NULL"),
        postgresql_where=sa.text("ended_position IS NULL"),
    )
    op.create_index(
        "messages_by_end",
        "messages",
        ["conversation_id", "ended_position", "position"],
        sqlite_where=sa.text("ended_position IS NOT NULL"),
        postgresql_where=sa.text("ended_position IS NOT NULL"),
    )
    for name, column in (("messages_by_idempotency_key", "idempotency_key"), ("messages_replayed", "replayed_from")):
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "messages", [column], sqlite_where=where, postgresql_where=where)
    op.create_index(
        "messages_unfinished_by_fingerprint",
        "messages",
        ["fingerprint"],
        sqlite_where=sa.text("ended_position IS NULL AND fingerprint IS NOT NULL"),
        postgresql_where=sa.text("ended_position IS NULL AND fingerprint IS NOT NULL"),
    )
    op.create_index(
        "messages_saved",
        "messages",
        ["end_user_id", "saved_position"],
        sqlite_where=sa.text("saved_position IS NOT NULL"),
        postgresql_where=sa.text("saved_position IS NOT NULL"),
    )
    op.create_index("messages_by_person", "messages", ["end_user_id", "position"])
    op.create_index(
        "messages_annotated",
        "messages",
        ["app_id", "annotation_id"],
        sqlite_where=sa.text("annotation_id IS NOT NULL"),
        postgresql_where=sa.text("annotation_id IS NOT NULL"),
    )


def _create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        _id("message_id", primary_key=True),
        _id("app_id"),
        _id("conversation_id"),
        _text("generator"),
        _text("error_code"),
        _number("position"),
        sa.Column("is_open", sa.Boolean(), nullable=False),
    )
    op.create_index("dead_letters_by_position", "dead_letters", ["is_open", "error_code", "position"])
    op.create_index("dead_letters_of_conversation", "dead_letters", ["conversation_id"])
    op.create_index("dead_letters_of_app", "dead_letters", ["app_id", "is_open", "error_code", "position"])


def _create_files() -> None:
    op.create_table(
        "files",
        _id("file_id", primary_key=True),
        _id("app_id"),
        _id("end_user_id"),
        _id("key_id"),
        _text("kind"),
        _text("belongs_to"),
        _text("mime_type"),
        _number("size"),
        _number("created_at"),
        sa.Column("is_erased", sa.Boolean(), nullable=False),
        _bytes("content"),
    )
    op.create_index("files_by_person", "files", ["end_user_id", "created_at"])
    op.create_index(
        "files_at_rest",
        "files",
        ["app_id", "created_at"],
        sqlite_where=sa.text("is_erased = 0"),
        postgresql_where=sa.text("NOT is_erased"),
    )
    op.create_table("file_references", _id("file_id", primary_key=True), _id("conversation_id", primary_key=True))
    op.create_index("file_references_by_conversation", "file_references", ["conversation_id"])


def _create_operational_state() -> None:
    op.create_table(
        "leases",
        _id("message_id", primary_key=True),
        _text("worker"),
        _number("attempt"),
        _number("expires_at"),
    )
    op.create_index("leases_by_worker", "leases", ["worker"])
    op.create_table(
        "process_leases",
        _text("name", primary_key=True),
        _text("holder"),
        _number("token"),
        _number("expires_at"),
    )
