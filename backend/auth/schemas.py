"""How a client gets in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from backend.access import Scope
from backend.schema import Schema
from elt.vocabulary import Role

Credential = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class GrantType(StrEnum):
    """The one grant there is (RFC 6749, 4.4)."""

    CLIENT_CREDENTIALS = "client_credentials"


class TokenRequest(Schema):
    """A client's name and secret, here or as HTTP Basic."""

    # A field of a form that reads as a number comes as one.
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    grant_type: GrantType = Field(description="client_credentials", examples=[GrantType.CLIENT_CREDENTIALS])
    client_id: Credential | None = Field(None, description="name of the client", examples=["local-admin"])
    client_secret: Credential | None = Field(None, description="its secret", examples=["s3cr3t-of-the-client"])


class Token(Schema):
    """What to send as `Authorization: Bearer …`."""

    access_token: str = Field(description="the token, a signed JWT", examples=["eyJhbGciOiJFZDI1NTE5In0.e30.c2ln"])
    token_type: str = Field(description="Bearer", examples=["Bearer"])
    expires_in: int = Field(description="seconds until it ends", examples=[3600])


class Me(Schema):
    """Whom a token speaks for, and what they may do."""

    client_id: str = Field(description="the client, or the subject of an outside issuer", examples=["local-admin"])
    role: Role = Field(description="the role", examples=[Role.ADMIN])
    facility_ids: list[int] = Field(description="the facilities of a role that is bound to some", examples=[[]])
    expires_at: datetime = Field(description="when the token ends, UTC", examples=["2026-01-31T03:00:00+00:00"])
    may: dict[str, Scope] = Field(
        description=(
            "the operations open to the role, each with how much it answers: all, own (the caller's facilities) or "
            "rounded (counts of 1 to 7 suppressed, others rounded to 5)"
        ),
        examples=[{"facilities.list_facilities": "all"}],
    )


class KeySet(Schema):
    """The public keys that tokens of this API are checked with (RFC 7517)."""

    keys: list[dict[str, Any]] = Field(
        description="Ed25519 public keys, the present one first",
        examples=[[{"kty": "OKP", "crv": "Ed25519", "kid": "FAZl", "x": "rJgv", "use": "sig", "alg": "Ed25519"}]],
    )
