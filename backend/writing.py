"""Writes: held to the contract of the feed that files are held to, marked with who wrote, repeatable by key.

One definition of what is sound: `elt.checks` makes the same SQL for one body here as for a file's rows there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, abort, g, request
from psycopg import Connection, errors
from psycopg.rows import dict_row
from pydantic import BaseModel

from backend.database import writing
from backend.listing import Listing, etag
from backend.problems import InvalidInput, ProblemType, invalid, missing, problem
from elt import checks
from elt.contract import Contract, contract
from elt.vocabulary import RowCode


@dataclass(frozen=True)
class Writable:
    """A resource that can be written.

    `places`: each column of the contract that a body gives, and its JSON pointer there. `production`: each column of
    the table, as SQL over those columns once they are checked. `given`: each column of the contract, as SQL over the
    table, in the words a file would use. `reference`: the column that says whose the row is.
    """

    listing: Listing
    feed: str
    address: str
    places: Mapping[str, str]
    production: Mapping[str, str]
    given: Mapping[str, str]
    reference: str | None = None

    def create(self, body: BaseModel) -> Response:
        """201 with the new entity, and where it is."""
        return self._once(lambda connection: self._insert(connection, body), 201)

    def replace(self, entity_id: int, body: BaseModel) -> Response:
        """The entity with all its columns as the body gives them; what the body leaves out is null."""
        return self._once(lambda connection: self._update(connection, entity_id, body, whole=True), 200)

    def change(self, entity_id: int, body: BaseModel) -> Response:
        """The entity with those columns changed that the body gives; null erases."""
        return self._once(lambda connection: self._update(connection, entity_id, body, whole=False), 200)

    def delete(self, entity_id: int) -> Response:
        """204. 409 for what others refer to, and for what files delivered: the next one would bring it back."""

        def remove(connection: Connection) -> int:
            current = self._locked(connection, entity_id)
            if current["source"] != "api":
                abort(
                    problem(
                        ProblemType.DELIVERED,
                        "A file delivered this. Correct it where it comes from, or change it here.",
                    )
                )
            connection.execute(f"delete from public.{self.feed} where id = %s", [entity_id])
            return entity_id

        return self._once(remove, 204)

    def _once(self, work: Callable[[Connection], int], status: int) -> Response:
        """Do the work in one transaction, or, if its Idempotency-Key is known, say again what became of it."""
        with _refusals(), writing() as connection:
            done = _repeated(connection)
            if done is None:
                entity_id = work(connection)
                _remember(connection, status, entity_id)
            else:
                status, entity_id = done
        answer = Response(status=204) if status == 204 else self.listing.one(entity_id)
        answer.status_code = status
        if status == 201:
            answer.headers["Location"] = f"{self.address}/{entity_id}"
        return answer

    def _insert(self, connection: Connection, body: BaseModel) -> int:
        values = self._checked(connection, self._texts(body.model_dump(by_alias=True)))
        references = self._references(connection, body)
        columns = [*references, *self.production]
        row = connection.execute(
            f"""
            insert into public.{self.feed} ({", ".join(columns)}, source, _first_client, _last_client{self._key_column})
            select
                {", ".join([*(f"%({name})s" for name in references), *self.production.values()])},
                'api', %(client)s, %(client)s{", " + self._key if self._key_column else ""}
            from ({self._values}) as checked
            returning id
            """,
            {**values, **references, "client": g.caller.name},
        ).fetchone()
        return int(row[0])  # type: ignore[index]

    def _update(self, connection: Connection, entity_id: int, body: BaseModel, *, whole: bool) -> int:
        current = self._locked(connection, entity_id)
        given = body.model_dump(by_alias=True, exclude_unset=not whole)
        texts = self._texts(given) if whole else {**current["given"], **self._texts(given, only_given=True)}
        values = self._checked(connection, texts)
        self._assert_settled(current, given, values)
        rules = contract(self.feed)
        overridden = " || ".join(
            f"case when new.{name} is distinct from known.{name} then jsonb_build_object('{name}', known.{name})"
            " else '{}' end"
            for name in rules.attributes
        )
        connection.execute(
            f"""
            update public.{self.feed} as known
            set {", ".join(f"{name} = new.{name}" for name in self.production)},
                updated_at = now(), _last_client = %(client)s,
                _overridden = case when known._delivered_hash is not null
                    then nullif({overridden} || coalesce(known._overridden, '{{}}'), '{{}}')
                end
            from (
                select {", ".join(f"{value} as {name}" for name, value in self.production.items())}
                from ({self._values}) as checked
            ) as new
            where known.id = %(id)s
            """,
            {**values, "id": entity_id, "client": g.caller.name},
        )
        return entity_id

    def _locked(self, connection: Connection, entity_id: int) -> dict[str, Any]:
        """The row as it stands, locked. Ends the request with 404 where there is none, 412 where it is another one."""
        given = ", ".join(f"'{name}', {value}" for name, value in self.given.items())
        references = ", ".join(["id", "source", "updated_at", *self._reference_columns])
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                f"""
                select {references}, jsonb_build_object({given}) as given
                from public.{self.feed} where id = %s for update
                """,
                [entity_id],
            ).fetchone()
        if row is None:
            abort(missing())
        # A header that holds no ETag names no version, either. Proxies that compress make ETags weak.
        if "If-Match" in request.headers and not request.if_match.contains_weak(etag(row["updated_at"])):
            abort(
                problem(ProblemType.PRECONDITION_FAILED, "It was changed meanwhile. Get it again, and then change it.")
            )
        return row

    def _references(self, connection: Connection, body: BaseModel) -> dict[str, Any]:
        """Whose the row is. Ends the request with 422 where the caller sees nobody of that id."""
        if self.reference is None:
            return {}
        given = body.model_dump(include={"facility_id", "patient_id"})
        if self.reference == "facility_id":
            return {"facility_id": given["facility_id"]}
        row = connection.execute(
            "select facility_id from public.patients where id = %s", [given["patient_id"]]
        ).fetchone()
        if row is None:
            abort(invalid([InvalidInput(pointer="#/patient_id", code=RowCode.MISSING_PATIENT)]))
        return {"patient_id": given["patient_id"], "facility_id": given["facility_id"] or row[0]}

    @property
    def _reference_columns(self) -> list[str]:
        return {"facility_id": ["facility_id"], "patient_id": ["patient_id", "facility_id"]}.get(
            str(self.reference), []
        )

    @property
    def _key_column(self) -> str:
        return ", _key" if contract(self.feed).identifier else ""

    @property
    def _key(self) -> str:
        """SQL for an event's key: the source's own id within the facility, as files have it; else it is a new one."""
        identifier = contract(self.feed).identifier
        return (
            f"coalesce(md5('id' || E'\\x1f' || %(facility_id)s::bigint || E'\\x1f' || lower({identifier}))::uuid,"
            " gen_random_uuid())"
        )

    @property
    def _contract(self) -> Contract:
        """The contract, as far as bodies give its columns: references are ids here, and names in files."""
        rules = contract(self.feed)
        return replace(rules, columns=tuple(column for column in rules.columns if column.name in self.places))

    @property
    def _values(self) -> str:
        """SQL for a row of the contract's columns, out of parameters of their names."""
        return "select " + ", ".join(f"%({name})s::text as {name}" for name in self.places)

    def _texts(self, given: dict[str, Any], *, only_given: bool = False) -> dict[str, str | None]:
        """The columns of the contract as texts, as a file would hold them."""
        texts: dict[str, str | None] = {}
        for name, place in self.places.items():
            value: Any = given
            is_given = True
            for part in place.split("/"):
                # Null where its parts would stand erases all of them.
                if value is None:
                    break
                is_given = part in value
                value = value.get(part)
                if not is_given:
                    break
            if is_given or not only_given:
                texts[name] = _text(value)
        return texts

    def _checked(self, connection: Connection, texts: dict[str, str | None]) -> dict[str, str | None]:
        """The columns in the one spelling of their values. Ends the request with 422 where the contract is broken."""
        rules = self._contract
        normalised = ", ".join(f"{checks.normalised(column)} as {column.name}" for column in rules.columns)
        canonical = ", ".join(f"{checks.canonical(column)} as {column.name}" for column in rules.columns)
        with connection.cursor(row_factory=dict_row) as cursor:
            row: dict[str, Any] = cursor.execute(
                f"""
                with source as ({self._values}),
                normalised as (select {normalised} from source),
                spelled as (select {canonical} from normalised)
                select *, {checks.errors(rules)} as errors from spelled
                """,
                texts,
            ).fetchall()[0]
        found = [error.split(":") for error in row.pop("errors")]
        if found:
            abort(invalid([InvalidInput(pointer=f"#/{self.places[column]}", code=code) for column, code in found]))
        return row

    def _assert_settled(self, current: dict[str, Any], given: dict[str, Any], values: dict[str, str | None]) -> None:
        """Ends the request with 422 where it would change whose the row is, or the source's own id of it."""
        identifier = contract(self.feed).identifier
        moved = [
            name for name in self._reference_columns if given.get(name) is not None and given[name] != current[name]
        ]
        if identifier and values[identifier] != current["given"][identifier]:
            moved.append(identifier)
        if moved:
            abort(invalid([InvalidInput(pointer=f"#/{name}", code="immutable") for name in moved]))


def _text(value: object) -> str | None:
    if isinstance(value, list):
        return ";".join(value) or None
    return None if value is None else str(value)


def _repeated(connection: Connection) -> tuple[int, int] | None:
    """Status and entity of the same request, done before; None for a new one, whose key is taken from now on.

    Two at once: the second waits for the first. Ends the request with 422 where the key came with another request.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    content = b"\x1f".join([request.method.encode(), request.path.encode(), request.get_data()])
    asked = {"subject": g.caller.name, "key": key, "hash": hashlib.sha256(content).hexdigest()}
    connection.execute("delete from audit.idempotency_keys where created_at < now() - interval '1 day'")
    taken = connection.execute(
        """
        insert into audit.idempotency_keys (subject, key, request_hash) values (%(subject)s, %(key)s, %(hash)s)
        on conflict do nothing
        """,
        asked,
    ).rowcount
    if taken:
        return None
    row = connection.execute(
        """
        select request_hash, status, entity_id from audit.idempotency_keys
        where subject = %(subject)s and key = %(key)s
        """,
        asked,
    ).fetchall()[0]
    if row[0] != asked["hash"]:
        abort(invalid([InvalidInput(pointer="#/Idempotency-Key", code="reused")]))
    return row[1], row[2]


def _remember(connection: Connection, status: int, entity_id: int) -> None:
    if key := request.headers.get("Idempotency-Key"):
        connection.execute(
            "update audit.idempotency_keys set status = %s, entity_id = %s where subject = %s and key = %s",
            [status, entity_id, g.caller.name, key],
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """What the database refuses, as an answer."""
    try:
        yield
    except errors.UniqueViolation:
        abort(problem(ProblemType.CONFLICT, "There is one with the same natural key already. Find it, and change it."))
    except errors.ForeignKeyViolation as error:
        if error.diag.message_primary and "delete" in error.diag.message_primary:
            abort(problem(ProblemType.CONFLICT, "Others refer to this. Delete those first."))
        abort(_nobody())
    except errors.InsufficientPrivilege as error:
        if "row-level security" not in str(error.diag.message_primary):
            raise
        # What belongs to others looks like what is not there.
        abort(_nobody())
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        abort(
            problem(
                ProblemType.LOAD_UNDER_WAY,
                "A run of the pipeline is writing the same table. Try again in a few seconds.",
                headers={"Retry-After": "5"},
            )
        )


def _nobody() -> Response:
    """422 for a facility that is not there, or not the caller's; of events the patient was found before."""
    return invalid([InvalidInput(pointer="#/facility_id", code=RowCode.MISSING_FACILITY)])
