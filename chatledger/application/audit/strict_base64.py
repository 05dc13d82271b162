"""Base64 that can be written in one way only."""

from base64 import b64decode, b64encode


def decode_base64(text: str) -> bytes:
    """The bytes that standard base64 (RFC 4648, section 4) writes as exactly this text.

    Raises:
        ValueError: there are none; a proof that could be written in two ways could not be compared.
    """
    decoded = b64decode(text.encode("ascii", "replace"), validate=True)
    if b64encode(decoded).decode() != text:
        raise ValueError(f"not the canonical form: {text[:80]!r}")
    return decoded
