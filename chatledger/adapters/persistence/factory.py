"""What the ``eventsourcing`` library makes recorders with: the persistence module's factory."""

import importlib.util
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    ProcessRecorder,
    ProgrammingError,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from chatledger.adapters.persistence.database import SQLITE, Durability, database_at
from chatledger.adapters.persistence.library_errors import library_errors
from chatledger.adapters.persistence.migrate import require_current, upgrade
from chatledger.adapters.persistence.open_ledgers import Share, share_ledger
from chatledger.adapters.persistence.recorder import SqlRecorder, SqlSnapshotRecorder, SqlTrackingRecorder
from chatledger.application.system_clock import SystemClock, new_id

POSTGRES = "postgresql://"

R = TypeVar("R", bound=SqlTrackingRecorder)


class Factory(InfrastructureFactory[SqlTrackingRecorder]):
    """Recorders on a ledger, for the application or projection that the environment is named after.

    The ledger is opened with the first recorder, once for all factories of the process, and closed with the last.

    Environment variables, each also with the name of the application and an underscore before it:

    * ``CHATLEDGER_DATABASE_URL``: ``sqlite:///file`` or ``postgresql://user@host:port/database``;
    * ``CHATLEDGER_DURABILITY``: ``full`` (the default) or ``relaxed``;
    * ``CREATE_TABLE``: whether missing tables are made; yes by default;
    * those of the library's own factories that name classes, ciphers and compressors.

    Raises:
        InfrastructureFactoryError: one of them is missing or impossible.
    """

    DATABASE_URL = "CHATLEDGER_DATABASE_URL"
    DURABILITY = "CHATLEDGER_DURABILITY"
    CREATE_TABLE = "CREATE_TABLE"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"
    SINGLE_ROW_TRACKING = "SINGLE_ROW_TRACKING"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._url = self._database_url()
        self._durability = self._durability_wanted()
        self._creates_tables = self._flag(self.CREATE_TABLE)
        self._share: Share | None = None
        if (self.env.get(self.ORIGINATOR_ID_TYPE) or "uuid").lower() != "uuid":
            raise InfrastructureFactoryError(f"{self.ORIGINATOR_ID_TYPE}: the ledger names its streams by UUIDs")
        if not self._flag(self.SINGLE_ROW_TRACKING):
            raise InfrastructureFactoryError(f"{self.SINGLE_ROW_TRACKING}: the ledger has no other way of tracking")

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """What records the events of aggregates, or their snapshots.

        Raises:
            OperationalError: another process has the ledger, or it is out of reach.
            ProgrammingError: there is no such purpose, or the ledger has other tables than this release.
        """
        if purpose == "events":
            return self.application_recorder()
        if purpose != "snapshots":
            raise ProgrammingError(f"the ledger keeps events and snapshots, no {purpose}")
        return SqlSnapshotRecorder(self._opened(), self._name)

    def application_recorder(self) -> ApplicationRecorder:
        """What records the events of an application.

        Raises:
            OperationalError: another process has the ledger, or it is out of reach.
            ProgrammingError: the ledger has other tables than this release.
        """
        return self._recorder(self._class_at(self.APPLICATION_RECORDER_TOPIC, SqlRecorder))

    def process_recorder(self) -> ProcessRecorder:
        """What records the events of an application together with how far it follows others.

        Raises:
            OperationalError: another process has the ledger, or it is out of reach.
            ProgrammingError: the ledger has other tables than this release.
        """
        return self._recorder(self._class_at(self.PROCESS_RECORDER_TOPIC, SqlRecorder))

    def tracking_recorder(
        self, tracking_recorder_class: type[SqlTrackingRecorder] | None = None
    ) -> SqlTrackingRecorder:
        """What records how far a projection follows an application: a view.

        Raises:
            OperationalError: another process has the ledger, or it is out of reach.
            ProgrammingError: the ledger has other tables than this release, or the view has one of the ledger's.
        """
        if tracking_recorder_class is None:
            return self._recorder(self._class_at(self.TRACKING_RECORDER_TOPIC, SqlTrackingRecorder))
        return self._recorder(_subclass(tracking_recorder_class, SqlTrackingRecorder))

    def close(self) -> None:
        """Let go of the ledger."""
        if self._share is not None:
            self._share.close()

    def _recorder(self, recorder_class: type[R]) -> R:
        recorder = recorder_class(self._opened(), self._name)
        if self._creates_tables:
            recorder.create_tables()
        return recorder

    def _opened(self) -> Share:
        if self._share is None:
            with library_errors(), ExitStack() as opening:
                share = opening.enter_context(closing(self._shared()))
                if self._creates_tables:
                    upgrade(share.ledger.writing)
                else:
                    require_current(share.ledger.reading)
                opening.pop_all()
            self._share = share
        return self._share

    def _shared(self) -> Share:
        try:
            return share_ledger(self._url, self._durability, SystemClock(), new_id)
        except ValueError as error:
            raise ProgrammingError(f"{self.DURABILITY}: {error}") from error

    @property
    def _name(self) -> str:
        if not self.env.name:
            raise ProgrammingError("an application needs a name, under which its events stand on the ledger")
        return self.env.name

    def _class_at(self, setting: str, base: type[R]) -> type[R]:
        topic = self.env.get(setting)
        return _subclass(resolve_topic(topic), base) if topic else base

    def _database_url(self) -> str:
        url = self.env.get(self.DATABASE_URL)
        if not url:
            raise InfrastructureFactoryError(f"{' or '.join(self.env.create_keys(self.DATABASE_URL))} is not set")
        # The reasons quote nothing: an address may hold a password.
        if url.startswith(POSTGRES):
            if importlib.util.find_spec("psycopg") is None:
                raise InfrastructureFactoryError(f"{self.DATABASE_URL}: PostgreSQL needs chatledger[postgres]")
            try:
                database_at(url)
            except ValueError as error:
                raise InfrastructureFactoryError(f"{self.DATABASE_URL}: {error}") from None
            return url
        file = url.removeprefix(SQLITE)
        if file == url:
            raise InfrastructureFactoryError(f"{self.DATABASE_URL} must begin with {SQLITE} or {POSTGRES}")
        if not file.strip() or file == ":memory:" or not Path(file).parent.is_dir():
            raise InfrastructureFactoryError(f"{self.DATABASE_URL} must name a file in a folder that is there")
        return url

    def _durability_wanted(self) -> Durability:
        durability = self.env.get(self.DURABILITY) or "full"
        if durability not in get_args(Durability):
            raise InfrastructureFactoryError(f"{self.DURABILITY} must be {' or '.join(get_args(Durability))}")
        return cast("Durability", durability)

    def _flag(self, setting: str) -> bool:
        try:
            return strtobool(self.env.get(setting) or "yes")
        except ValueError:
            raise InfrastructureFactoryError(f"{setting} must be yes or no") from None


def _subclass(recorder_class: Any, base: type[R]) -> type[R]:
    if not isinstance(recorder_class, type) or not issubclass(recorder_class, base):
        raise ProgrammingError(f"{recorder_class!r} is not a subclass of {base.__module__}.{base.__name__}")
    return recorder_class
