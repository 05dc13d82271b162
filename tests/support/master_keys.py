"""Master keys that are known."""

from pathlib import Path

from chatledger.adapters.keys.master import MasterKeyFile


def master_key(folder: Path, secret: bytes = bytes(32), name: str = "master.key") -> MasterKeyFile:
    """One in a file of a folder."""
    path = folder / name
    path.write_bytes(secret)
    path.chmod(0o600)
    return MasterKeyFile(path)
