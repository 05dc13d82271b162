"""The next release of chatledger, as far as its read models go: version 2, with one more of them.

A launcher: ``python next_release.py python -m chatledger ...`` runs the command by that release.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa

from chatledger.application.ledger import projections
from chatledger.application.ports.storage import Change, Increase
from chatledger.domain.events import MessageCreated

NEXT_RELEASE = (sys.executable, str(Path(__file__)))

VERSION = 2
QUESTIONS = "questions_asked"


def become_the_next_release() -> None:
    """Patch it before anything has read the version."""
    assert "chatledger.adapters.persistence.statements" not in sys.modules
    projections.READ_MODELS_VERSION = VERSION
    projections.READ_MODELS = (*projections.READ_MODELS, QUESTIONS)
    before = projections.Projections.changes

    def changes(
        self: projections.Projections, envelope: projections.Envelope, folded: Callable[[], projections.Message]
    ) -> Sequence[Change]:
        body, found = envelope.body, before(self, envelope, folded)
        if isinstance(body, MessageCreated):
            found = [*found, Increase(QUESTIONS, {"app_id": body.app_id}, {"number": 1})]
        return found

    projections.Projections.changes = changes  # type: ignore[method-assign]

    from chatledger.adapters.persistence.tables import APPS, METADATA

    kind = APPS.c.app_id.type
    columns = (sa.Column("app_id", kind, primary_key=True), sa.Column("number", sa.BigInteger(), nullable=False))
    sa.Table(QUESTIONS, METADATA, *columns)


if __name__ == "__main__":
    become_the_next_release()
    from chatledger.adapters.cli.main import main

    sys.argv = ["chatledger", *sys.argv[sys.argv.index("chatledger") + 1 :]]
    sys.exit(main())
