"""The ledger and operational state. The read models are made anew for each version, and by no revision.

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
    leaves bytea[], head_position bigint, head_recorded_at bigint, head_last_stream bigint, head_read_models bigint
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
    UPDATE head SET position = head_position, recorded_at = head_recorded_at, last_stream = head_last_stream,
                    read_models = head_read_models;
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
    op.create_table(
        "read_model_versions",
        _number("version", primary_key=True, autoincrement=False),
        _number("position"),
        sa.Column("has_successors", sa.Boolean(), nullable=False),
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
        _number("revision"),
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
