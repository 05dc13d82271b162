"""The ledger and its read models on SQLAlchemy Core; a persistence module of the ``eventsourcing`` library."""

import sys
from types import ModuleType
from typing import Any


class _PersistenceModule(ModuleType):
    """Has the library's factory as soon as somebody looks through its members, which nobody but the library does.

    Importing it with the package would make every start of the server pay for the library.
    """

    @property
    def __dict__(self) -> dict[str, Any]:
        from chatledger.adapters.persistence.factory import Factory  # noqa: PLC0415

        return {**globals(), "Factory": Factory}


sys.modules[__name__].__class__ = _PersistenceModule
