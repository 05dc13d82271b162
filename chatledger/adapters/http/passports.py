"""Passports: the signed tokens by which a web app's anonymous visitor is known again (JWT, RFC 7519)."""

from base64 import urlsafe_b64decode
from typing import Literal
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from chatledger.application.errors import UnauthorizedError
from chatledger.application.ports.clock import Clock
from chatledger.application.ports.keys import SigningKey, SigningKeys

ALGORITHM: Literal["HS256"] = "HS256"
"""The only one, whatever a token's own header asks for: who checks is who signed."""

ISSUER = "chatledger"
SUBJECT = "Web API Passport"


class Passport(msgspec.Struct, frozen=True):
    """Who a visitor is: in which app, and by which code of it they came in."""

    app_id: UUID
    app_code: str
    end_user_id: UUID


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typ: Literal["JWT"]
    alg: Literal["HS256"]
    kid: UUID


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    app_id: UUID
    app_code: str
    end_user_id: UUID
    iat: int
    exp: int


class Passports:
    """Issues passports and checks them.

    Args:
        signing_keys: what signs.
        clock: what the times in a passport are by.
        lifetime: how long a passport is good for, in seconds.
    """

    def __init__(self, signing_keys: SigningKeys, clock: Clock, lifetime: float) -> None:
        self._signing_keys = signing_keys
        self._clock = clock
        self._lifetime = lifetime

    def issue(self, passport: Passport) -> str:
        """A token, signed by the newest key."""
        key, now = self._signing_keys.newest(), int(self._clock.now().timestamp())
        claims = _Claims(
            iss=ISSUER,
            sub=SUBJECT,
            app_id=passport.app_id,
            app_code=passport.app_code,
            end_user_id=passport.end_user_id,
            iat=now,
            exp=now + int(self._lifetime),
        )
        header = _Header(typ="JWT", alg=ALGORITHM, kid=key.key_id)
        return jwt.encode(
            msgspec.to_builtins(header), msgspec.to_builtins(claims), OctKey.import_key(key.secret), [ALGORITHM]
        )

    def check(self, token: str) -> Passport:
        """What a token says, once it has proved to be one of ours and to be still good.

        Raises:
            UnauthorizedError: it is not.
        """
        key, now = self._signing_key(token), int(self._clock.now().timestamp())
        try:
            decoded = jwt.decode(token, OctKey.import_key(key.secret), [ALGORITHM])
            JWTClaimsRegistry(now, iss={"value": ISSUER}, sub={"value": SUBJECT}).validate(decoded.claims)
            claims = msgspec.convert(decoded.claims, _Claims)
        except (JoseError, msgspec.ValidationError, ValueError) as error:
            raise UnauthorizedError from error
        # By a retired key nothing of ours can last longer: whoever found it could sign what they like.
        if key.retired_at is not None and claims.exp > key.retired_at.timestamp() + self._lifetime:
            raise UnauthorizedError
        return Passport(claims.app_id, claims.app_code, claims.end_user_id)

    def _signing_key(self, token: str) -> SigningKey:
        """The key that a token names. No header but one of the kind that we write gets as far as the library."""
        try:
            header = msgspec.json.decode(urlsafe_b64decode(token.partition(".")[0] + "=="), type=_Header)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UnauthorizedError from error
        key = self._signing_keys.find(header.kid)
        if key is None:
            raise UnauthorizedError
        return key
