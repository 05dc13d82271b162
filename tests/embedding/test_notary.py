"""A host has its ledger signed, and keeps what proves it."""

from pathlib import Path

import pytest

from chatledger import ClosedError, InvalidParameterError, NotFoundError, TlogProof
from chatledger.adapters.keys.ed25519 import is_signed_by
from chatledger.application.audit.notes import Note, VerifierKey
from tests.embedding.hosting import hosted, new_app


async def test_a_host_signs_proves_and_rotates(tmp_path: Path) -> None:
    async with hosted(tmp_path) as ledger:
        await new_app(ledger)
        with pytest.raises(NotFoundError):
            await ledger.notary.checkpoint()
        first = await ledger.notary.sign()
        assert await ledger.notary.checkpoint(first.size) == first
        proof = await ledger.notary.prove(1)
        assert TlogProof.parse(bytes(proof)) == proof
        with pytest.raises(InvalidParameterError, match="position"):
            await ledger.notary.prove(first.size + 1)

        rotated = await ledger.notary.rotate_key()
        standing = await ledger.notary.standing()
        assert standing.checkpoint == rotated
        extension = await ledger.notary.prove_extension(first.size)
        assert (extension.old, extension.new) == (first.size, rotated.size)
        keys = [VerifierKey.parse(key) for key in standing.verifier_keys]
        assert Note.parse(rotated.note).verified(keys, is_signed_by) == keys
    with pytest.raises(ClosedError):
        await ledger.notary.sign()
