"""Clients of the API: who may ask for tokens, in which role, for which facilities; their secrets as argon2id hashes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from elt.vocabulary import BOUND_ROLES, Role

# 19 MiB and one lane (OWASP's second choice): eight log-ins at once stay below 160 MiB.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# What an unknown client's secret is compared with, so that the time of a refusal does not tell who exists.
NOBODY = HASHER.hash(secrets.token_urlsafe(32))


class NotPossible(Exception):
    """The client cannot be made or changed as asked; says why, and what to do."""


@dataclass(frozen=True)
class Client:
    """One client, without its secret."""

    client_id: str
    role: Role
    facility_ids: list[int]
    created_at: datetime
    rotated_at: datetime
    revoked_at: datetime | None


def create(connection: Connection, client_id: str, role: Role, facility_ids: list[int]) -> str:
    """Make a client; returns its secret, which is stored nowhere. `connection` acts as medilink_owner.

    Raises `NotPossible`.
    """
    _assert_bound(connection, role, facility_ids)
    secret = secrets.token_urlsafe(32)
    try:
        connection.execute(
            "insert into audit.api_clients (client_id, role, facility_ids, secret_hash) values (%s, %s, %s, %s)",
            [client_id, role, facility_ids, HASHER.hash(secret)],
        )
    except UniqueViolation:
        raise NotPossible(
            f"there is a client {client_id} already. Give it a new secret: medilink client rotate"
        ) from None
    return secret


def rotate(connection: Connection, client_id: str) -> str:
    """Give a client a new secret; the old one, and every token issued for it, are worth nothing from now on.

    Raises `NotPossible`.
    """
    secret = secrets.token_urlsafe(32)
    changed = connection.execute(
        "update audit.api_clients set secret_hash = %s, rotated_at = now() where client_id = %s and revoked_at is null",
        [HASHER.hash(secret), client_id],
    ).rowcount
    if not changed:
        raise NotPossible(_no_such(client_id))
    return secret


def revoke(connection: Connection, client_id: str) -> None:
    """End a client for good, with every token issued for it. Raises `NotPossible`."""
    changed = connection.execute(
        "update audit.api_clients set revoked_at = now() where client_id = %s and revoked_at is null", [client_id]
    ).rowcount
    if not changed:
        raise NotPossible(_no_such(client_id))


def clients(connection: Connection) -> list[Client]:
    """All clients, by name, revoked ones too."""
    with connection.cursor(row_factory=class_row(Client)) as cursor:
        return cursor.execute(
            """
            select client_id, role, facility_ids, created_at, rotated_at, revoked_at
            from audit.api_clients order by client_id
            """
        ).fetchall()


def ensure(connection: Connection, client_id: str, role: Role, secret: str) -> None:
    """Have a client of an unbound role with just this secret, unless it was revoked."""
    row = connection.execute("select secret_hash from audit.api_clients where client_id = %s", [client_id]).fetchone()
    if row is None or not is_secret(row[0], secret):
        connection.execute(
            """
            insert into audit.api_clients (client_id, role, secret_hash) values (%s, %s, %s)
            on conflict (client_id) do update
            set role = excluded.role, secret_hash = excluded.secret_hash, rotated_at = now()
            """,
            [client_id, role, HASHER.hash(secret)],
        )


def is_secret(secret_hash: str | None, secret: str) -> bool:
    """Whether the secret is the one that was hashed; takes as long where there is none (None)."""
    try:
        HASHER.verify(secret_hash or NOBODY, secret)
    except VerifyMismatchError:
        return False
    return secret_hash is not None


def _assert_bound(connection: Connection, role: Role, facility_ids: list[int]) -> None:
    if role not in BOUND_ROLES:
        if facility_ids:
            raise NotPossible(f"the role {role} is not bound to facilities: leave --facility out")
        return
    if not facility_ids:
        raise NotPossible(f"the role {role} sees its facilities only: name them with --facility")
    row = connection.execute(
        "select array_agg(id) from unnest(%s::bigint[]) as id where id not in (select id from public.facilities)",
        [facility_ids],
    ).fetchone()
    if row and row[0]:
        raise NotPossible(f"there is no facility {', '.join(map(str, row[0]))}. Their ids: GET /api/facilities")


def _no_such(client_id: str) -> str:
    return f"there is no client {client_id}, or it is revoked. Those there are: medilink client list"
