"""Opens a key store, rotates a key of it, or ``master``, and kills itself on the way; or ``none``, when it opens it.

``python -m tests.keys.rotate_and_die FOLDER KEY WHERE``
"""

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from chatledger.adapters.keys.keyring import StoredKeyring
from chatledger.adapters.keys.master import MasterKeyFile
from chatledger.adapters.keys.sqlite import SqliteKeyStore
from chatledger.application.system_clock import new_id


class DeadlyFile(MasterKeyFile):
    deadly = ""

    def propose(self) -> Path:
        successor = super().propose()
        self._die_if("proposed")
        return successor

    def adopt(self, successor: Path) -> None:
        self._die_if("committed")
        super().adopt(successor)
        self._die_if("adopted")

    def _die_if(self, place: str) -> None:
        if place == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, which: str, where: str) -> None:
    master = DeadlyFile(folder / "master.key")
    master.deadly = where if which == "none" else ""
    keyring = StoredKeyring(SqliteKeyStore(folder / "keys.db"), master, new_id)

    def trace(statement: str) -> None:
        master._die_if(f"before {statement.partition(' ')[0]}")

    keyring.store._connection.set_trace_callback(trace)
    master.deadly = where
    if which == "master":
        keyring.rotate_master_key()
    else:
        keyring.rotate_key(UUID(which))
    keyring.scrub()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
