"""An operator's token: its scopes, and its end."""

from chatledger.domain.events import ContentRead, OperatorTokenIssued, OperatorTokenRevoked
from chatledger.domain.operator import CONSOLE_ID, Operator
from tests.domain.specification import AN_ID, given

issued = OperatorTokenIssued(token_hash="hash", scopes=("audit", "operate"), name="Olga")


def test_a_token_is_issued_with_each_scope_once_in_order() -> None:
    given(Operator).when(
        lambda _: Operator.issue(AN_ID, name="Olga", token_hash="hash", scopes=["operate", "audit", "operate"])
    ).then(issued)


def test_a_token_is_revoked() -> None:
    given(Operator, issued).when(lambda operator: operator.revoke()).then(OperatorTokenRevoked())


def test_a_revoked_token_cannot_be_revoked_again() -> None:
    given(Operator, issued, OperatorTokenRevoked()).when(lambda operator: operator.revoke()).then()


def test_how_an_operator_is_seen() -> None:
    given(Operator).is_seen_as(scopes=frozenset(), is_revoked=False)
    given(Operator, issued).is_seen_as(scopes=frozenset(("audit", "operate")), is_revoked=False)
    given(Operator, issued, OperatorTokenRevoked()).is_seen_as(scopes=frozenset(("audit", "operate")), is_revoked=True)


def test_what_an_operator_reads_is_on_record_each_time() -> None:
    read = ContentRead(subject="message", subject_id=AN_ID)
    given(Operator, issued, read).when(lambda operator: operator.record_read("message", AN_ID)).then(read)
    given(Operator, issued).when(lambda operator: operator.record_read("ledger", None)).then(
        ContentRead(subject="ledger", subject_id=None)
    )
    given(Operator, issued, read).is_seen_as(scopes=frozenset(("audit", "operate")), is_revoked=False)


def test_whoever_runs_the_process_needs_no_token() -> None:
    console = Operator(CONSOLE_ID)
    console.record_read("ledger", None)
    assert [event.body for event in console.collect_events()] == [ContentRead(subject="ledger", subject_id=None)]
