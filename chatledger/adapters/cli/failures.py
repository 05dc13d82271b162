"""The failures that a command foresees, each as the line that its user reads."""

import sqlite3

from chatledger.adapters.cli.console import WRONG_USAGE, CommandFailedError
from chatledger.settings import SettingsProblemError


def foreseen(error: Exception) -> CommandFailedError | None:
    """What to tell the user; None for an error that nobody foresaw."""
    match error:
        case CommandFailedError():
            return error
        case SettingsProblemError():
            return CommandFailedError(str(error), WRONG_USAGE)
        case OSError():
            return CommandFailedError(str(error) or type(error).__name__)
        case _:
            return _refusal(error)


def _refusal(error: Exception) -> CommandFailedError | None:
    # Imported here: whoever comes this far has loaded them, and whoever does not is spared half a second.
    from chatledger.adapters.keys.copying import OtherKeysError  # noqa: PLC0415
    from chatledger.adapters.keys.key_store import NoKeyStoreError  # noqa: PLC0415
    from chatledger.adapters.keys.master import MasterKeyError  # noqa: PLC0415
    from chatledger.application.audit.export_file import ExportFileError  # noqa: PLC0415
    from chatledger.application.audit.export_lines import UnexportableError  # noqa: PLC0415
    from chatledger.application.audit.export_reader import BadExportError  # noqa: PLC0415
    from chatledger.application.audit.importing import ImportRefusedError  # noqa: PLC0415
    from chatledger.application.errors import (  # noqa: PLC0415
        ApplicationError,
        InvalidParameterError,
        NotFoundError,
    )
    from chatledger.application.ports.keys import KeyDestroyedError, SealBrokenError  # noqa: PLC0415
    from chatledger.application.ports.storage import (  # noqa: PLC0415
        SchemaError,
        StorageUnavailableError,
        StoreBusyError,
    )
    from chatledger.bootstrap import NoStoreError  # noqa: PLC0415

    match error:
        case NotFoundError():
            return CommandFailedError(f"there is no such {error.missing.replace('_', ' ')}")
        case InvalidParameterError():
            named = str(error).startswith(error.field)
            return CommandFailedError(str(error) if named else f"{error.field}: {error}", WRONG_USAGE)
        case StorageUnavailableError() if not isinstance(error, NoKeyStoreError):
            return CommandFailedError(f"the store is in trouble: {error}")
        case KeyDestroyedError() | SealBrokenError():
            return CommandFailedError(f"something sealed does not open ({error}): run `chatledger doctor`")
        case (
            StoreBusyError()
            | SchemaError()
            | MasterKeyError()
            | OtherKeysError()
            | NoKeyStoreError()
            | NoStoreError()
            | ApplicationError()
            | BadExportError()
            | ExportFileError()
            | ImportRefusedError()
            | UnexportableError()
        ):
            return CommandFailedError(str(error) or type(error).__name__)
        case _:
            return _damage(getattr(error, "orig", error))


def _damage(error: BaseException) -> CommandFailedError | None:
    """What a driver says of a statement that a sound store would have carried out."""
    if not isinstance(error, sqlite3.DatabaseError) and type(error).__module__.partition(".")[0] != "psycopg":
        return None
    # What follows the first line may quote rows.
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return CommandFailedError(f"the store is damaged: {reason}: run `chatledger doctor`")
