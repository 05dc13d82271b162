"""What goes wrong with the store, in the words of the ``eventsourcing`` library."""

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)

from chatledger.adapters.persistence.errors import kind_of, storage_errors
from chatledger.application.ports.storage import SchemaError, StorageUnavailableError, StoreBusyError

_LIBRARY_ERRORS: dict[str, type[PersistenceError]] = {
    "DataError": DataError,
    "IntegrityError": IntegrityError,
    "InternalError": InternalError,
    "OperationalError": OperationalError,
    "ProgrammingError": ProgrammingError,
}


@contextmanager
def library_errors() -> Iterator[None]:
    """What goes wrong with the store, in the library's words."""
    try:
        with storage_errors():
            yield
    except (StorageUnavailableError, StoreBusyError) as error:
        raise OperationalError(str(error)) from error
    except SchemaError as error:
        raise ProgrammingError(str(error)) from error
    except Exception as error:
        library = _LIBRARY_ERRORS.get(kind_of(error) or "")
        if library is None:
            raise
        # What follows the first line may quote rows.
        raise library(str(getattr(error, "orig", error)).partition("\n")[0]) from error
