"""Tokens: JWTs signed by this API (Ed25519), or by an outside issuer whose keys are configured.

Keys are fixed: none is taken from a token's header or fetched from an address. Rotation is a new first key in
API_SIGNING_KEYS; the old one stays behind it for an hour, so that its tokens end by themselves.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey
from pydantic import BaseModel, Field, ValidationError

from elt.settings import Settings
from elt.vocabulary import Role

ISSUER = "medilink"
AUDIENCE = "medilink-api"
LIFETIME_SECONDS = 3600
# EdDSA by its present name (RFC 9864) and its old one, which outside issuers still use. No HMAC, no `none`.
ALGORITHMS = ["Ed25519", "EdDSA", "RS256"]


class InvalidToken(Exception):
    """The token is not one of ours, or of the configured issuer's, or it has expired."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request, as their token says."""

    subject: str
    role: Role
    facility_ids: tuple[int, ...]
    issuer: str
    issued_at: int
    expires_at: int

    @property
    def name(self) -> str:
        """The subject; behind its issuer, where that is not this API: two issuers may give one name to two callers."""
        return self.subject if self.issuer == ISSUER else f"{self.issuer}|{self.subject}"

    @cached_property
    def facilities(self) -> str:
        """Their facilities as PostgreSQL writes an array."""
        return f"{{{','.join(map(str, self.facility_ids))}}}"


class _Claims(BaseModel):
    """What a token says; `iss`, `aud` and `exp` were checked before."""

    sub: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
    iss: str
    iat: int = 0
    exp: int
    role: Role
    facilities: tuple[Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)], ...] = ()


class Tokens:
    """Issues and checks tokens. Raises ValueError when API_SIGNING_KEYS holds no key, or one that cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.own = _own_keys(settings.api_signing_keys.get_secret_value())
        self.issuer_of = {key.kid: ISSUER for key in self.own}
        keys = list(self.own.keys)
        if settings.api_outside_issuer and settings.api_outside_jwks_file:
            outside = KeySet.import_key_set(json.loads(settings.api_outside_jwks_file.read_text(encoding="utf-8")))
            if settings.api_outside_issuer == ISSUER or self.issuer_of.keys() & {key.kid for key in outside}:
                raise ValueError("API_OUTSIDE_ISSUER: its name and its keys must differ from this API's own")
            self.issuer_of |= {key.kid: settings.api_outside_issuer for key in outside}
            keys += outside.keys
        self.all = KeySet(keys)
        self.claims = jwt.JWTClaimsRegistry(
            now=lambda: int(time.time()),
            iss={"essential": True, "values": sorted(set(self.issuer_of.values()))},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
        )
        # A signature takes longer to check than all the rest of a request's admission.
        self._verified = lru_cache(maxsize=1024)(self._verify)

    def issue(self, subject: str, role: Role, facility_ids: list[int]) -> str:
        """A token for LIFETIME_SECONDS from now."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "role": role,
            "facilities": facility_ids,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        key = self.own.keys[0]
        return jwt.encode({"alg": "Ed25519", "kid": key.kid}, claims, key, algorithms=ALGORITHMS)

    def caller(self, token: str) -> Caller:
        """Who a token stands for. Raises `InvalidToken`."""
        caller = self._verified(token)
        if caller.expires_at <= time.time():
            raise InvalidToken
        return caller

    def jwks(self) -> dict[str, Any]:
        """The public keys of this API's own tokens."""
        keys = self.own.as_dict(private=False)["keys"]
        return {"keys": [{**key, "use": "sig", "alg": "Ed25519"} for key in keys]}

    def _verify(self, token: str) -> Caller:
        try:
            decoded = jwt.decode(token, self.all, algorithms=ALGORITHMS)
            self.claims.validate(decoded.claims)
            claims = _Claims.model_validate(decoded.claims)
        except (JoseError, ValidationError, ValueError) as error:
            raise InvalidToken from error
        # One issuer's key never vouches for another's claims.
        if self.issuer_of.get(decoded.header.get("kid")) != claims.iss:
            raise InvalidToken
        return Caller(claims.sub, claims.role, claims.facilities, claims.iss, claims.iat, claims.exp)


def _own_keys(seeds: str) -> KeySet:
    if not seeds.strip():
        raise ValueError(
            "API_SIGNING_KEYS is empty. Set it in .env (start.sh generates one), or API_SIGNING_KEYS_FILE to a file."
        )
    return KeySet([_key(seed.strip()) for seed in seeds.split(",")])


def _key(seed: str) -> OKPKey:
    try:
        private = base64.urlsafe_b64decode(seed + "=" * (-len(seed) % 4))
        public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    except (binascii.Error, ValueError):
        raise ValueError(
            "API_SIGNING_KEYS: a key is not 32 bytes in base64url. Make one: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        ) from None
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _base64url(private), "x": _base64url(public)})
    key.ensure_kid()
    return key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
