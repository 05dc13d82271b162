"""The drivers' words for a store in trouble."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from chatledger.application.ports.storage import StorageUnavailableError

if TYPE_CHECKING:
    import psycopg

_PRIMARY_CODE = 0xFF
_SQLITE_IN_TROUBLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    )
)
_POSTGRES_IN_TROUBLE = frozenset(("08", "53", "57", "58"))
"""Classes of SQLSTATE: connection, resources, intervention (a shutdown, a cancelled statement), system."""
_POSTGRES_STATES_IN_TROUBLE = frozenset(("25006", "25P03", "40001", "40P01", "42501", "55P03"))
"""A standby, a transaction left idle too long, a serialization failure, a deadlock, a privilege that is lacking, a
lock that did not come free."""

_DRIVERS = frozenset(("sqlite3", "psycopg", "psycopg.errors"))
_KINDS = frozenset(("DataError", "IntegrityError", "InternalError", "OperationalError", "ProgrammingError"))


@contextmanager
def storage_errors() -> Iterator[None]:
    """The driver's word for a store in trouble becomes ours; a violated constraint stays what it is.

    Trouble is what may pass by itself, or by making room. Any other error is one of the statement, and of it alone.

    Raises:
        StorageUnavailableError: disk full, file locked, database away.
    """
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise StorageUnavailableError("no connection became free in time") from error
    except Exception as error:
        cause = _cause(error)
        if not _is_trouble(cause):
            raise
        # What follows the first line may quote rows.
        raise StorageUnavailableError((str(cause).splitlines() or [type(cause).__name__])[0]) from error


def _is_trouble(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return _PRIMARY_CODE & getattr(error, "sqlite_errorcode", 0) in _SQLITE_IN_TROUBLE
    if type(error).__module__.partition(".")[0] != "psycopg":
        return False
    from psycopg import Error, OperationalError  # noqa: PLC0415 - it is loaded, or this error would not be

    if not isinstance(error, Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, OperationalError)
    return (
        error.sqlstate[:2] in _POSTGRES_IN_TROUBLE
        or error.sqlstate in _POSTGRES_STATES_IN_TROUBLE
        or _ends_the_session(error)
    )


def _ends_the_session(error: "psycopg.Error") -> bool:
    """After which there is no connection, whatever the state: a panic over a full disk has that of a bug."""
    return error.diag.severity_nonlocalized in {"FATAL", "PANIC"}


def is_gone(error: BaseException) -> bool:
    """Whether a statement failed because the store cannot be used, and not by what it asked for or how long it took."""
    cause = _cause(error)
    state = getattr(cause, "sqlstate", None)
    if state is None:
        return _is_trouble(cause)
    return (
        state[:2] in {"08", "53", "58"} or state.startswith("57P0") or _ends_the_session(cast("psycopg.Error", cause))
    )


def kind_of(error: BaseException) -> str | None:
    """The name that PEP 249 gives a driver's error of this kind; None for any other error."""
    for kind in type(_cause(error)).__mro__:
        if kind.__name__ in _KINDS and kind.__module__ in _DRIVERS:
            return kind.__name__
    return None


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
