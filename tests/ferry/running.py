"""The ferry line on a ledger: in this process, or in one of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.projection import ProjectionRunner
from eventsourcing.utils import Environment

from tests.ferry.line import Ferry, Manifest
from tests.ferry.manifest import SqlManifest

ROOT = Path(__file__).parents[2]
WITHIN = 20.0

Env = dict[str, str]


def settings(url: str) -> Env:
    return {
        "PERSISTENCE_MODULE": "chatledger.adapters.persistence",
        "CHATLEDGER_DATABASE_URL": url,
        "CHATLEDGER_DURABILITY": "relaxed",
    }


def manifest(env: Env) -> "ProjectionRunner[Ferry, SqlManifest]":
    return ProjectionRunner(application_class=Ferry, projection_class=Manifest, view_class=SqlManifest, env=env)


@contextmanager
def view_alone(env: Env) -> Iterator[SqlManifest]:
    """The view as a process has it that only looks at it."""
    factory = InfrastructureFactory.construct(Environment("Manifest", env))
    with closing(factory.tracking_recorder(SqlManifest)) as view:
        yield view


@contextmanager
def process(env: Env, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """``tests.ferry.process`` with these arguments, killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ferry.process", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()
