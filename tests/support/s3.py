"""A real S3 server on the loopback, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from chatledger.adapters.s3_buckets import Bucket

ACCESS_KEY = "chatledger"
SECRET_KEY = "a secret of the tests"
BUCKET = "files"
START_WITHIN = 20.0


class S3Server:
    """Nanio, which checks signatures, serves ranges and joins parts. Entering waits until it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def bucket(self, prefix: str = "", secret_access_key: str = SECRET_KEY) -> Bucket:
        """Its bucket, or a folder in it."""
        return Bucket(
            name=BUCKET,
            prefix=prefix,
            endpoint=self.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=secret_access_key,
        )

    def __enter__(self) -> Self:
        (self.folder / BUCKET).mkdir(parents=True)
        credentials = {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY}
        where = ["--data-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nanio", "serve", *where, "--no-access-log", "--log-level", "error"],
            env=os.environ | credentials,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_WITHIN
        while not self._answers():
            assert self._process.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; doing so again changes nothing."""
        self._process.terminate()
        self._process.wait(START_WITHIN)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True
