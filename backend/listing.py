"""Lists and single entities, as JSON that PostgreSQL itself builds: filters, two ways of paging, counts."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any
from urllib.parse import quote_plus

from flask import Response, abort
from pydantic import BaseModel, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from backend.access_log import Held, fetch_logged, left, note
from backend.api import Answer
from backend.context import kept, this_request
from backend.database import fetch_first, fetch_one
from backend.parameters import Parameters
from backend.problems import InvalidInput, invalid, missing

COUNT_CAP = 10_001
DEFAULT_SIZE = 50
# Between the rows of a page, each on a line of its own. No row has it: JSON escapes line ends in text, and json_agg,
# which alone sets some between values, puts a space before them.
SEPARATOR = ",\n"
Size = Annotated[int, Field(ge=1, le=1000)]


class Count(StrEnum):
    """Whether a list's X-Total-Count is wanted; `true` stops counting at 10,001."""

    FALSE = "false"
    TRUE = "true"
    EXACT = "exact"


class Paging(Parameters):
    """Paging by number (`page`, `per_page`), or on from a cursor (`after`, `limit`), which is as quick on any page."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="number of the page, from 1", examples=[2]
    )
    per_page: Size | None = Field(None, description=f"entities per page, {DEFAULT_SIZE} unless given", examples=[100])
    limit: Size | None = Field(
        None,
        description=f"entities at most, {DEFAULT_SIZE} unless given; not with page or per_page",
        examples=[100],
    )
    count: Count = Field(
        Count.FALSE, description="whether to answer X-Total-Count: true counts to 10,001 at most, exact to the end"
    )

    @model_validator(mode="after")
    def _one_way_of_paging(self) -> Paging:
        if (self.page or self.per_page) and self.by_cursor:
            raise PydanticCustomError("paging_mixed", "page and per_page cannot be combined with after and limit")
        return self

    @property
    def by_cursor(self) -> bool:
        """Whether the caller pages with `after` and `limit`."""
        return self.limit is not None or self.cursor is not None

    @property
    def cursor(self) -> int | str | None:
        """What `after` says, in those that have it."""
        return getattr(self, "after", None)


class ListParameters(Paging):
    """Paging of entities, which have an id."""

    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="only entities after the one with this id; not with page or per_page", examples=[50]
    )


class MartParameters(Paging):
    """Paging of a mart's rows."""

    after: Annotated[str, Field(max_length=4000, pattern="^[A-Za-z0-9_-]+$")] | None = Field(
        None, description="cursor out of a `Link` header; not with page or per_page", examples=["WzUwXQ"]
    )


@dataclass(frozen=True)
class Page:
    """A page as JSON text, the cursor of the next one (None on the last), how many rows there are where asked."""

    body: str
    following: dict[str, str] | None
    total: int | None

    def with_headers(self, answer: Response) -> Response:
        """The answer with `Link: rel="next"` and `X-Total-Count`."""
        if self.following:
            parameters = kept().parameters | self.following
            # The names are those of the schema.
            address = "&".join([f"{name}={_escaped(value)}" for name, value in parameters.items()])
            answer.headers.add("Link", f'<{this_request().path}?{address}>; rel="next"')
        if self.total is not None:
            answer.headers.add("X-Total-Count", self.total)
        return answer


@dataclass(frozen=True, eq=False)
class Listing:
    """A table as a resource: the columns of its schema, and one SQL condition per filter (bound as `%(name)s`).

    `key` says what rows are ordered and paged by: columns, or expressions of them, that are unique together and never
    null. `logged` is the column that says for the access log whom or what a row is about: the patient, unless `held`
    says otherwise. SQL of a list has no `%` of its own: where a page takes no parameter, `%%` would stay two.
    """

    table: str
    columns: str
    filters: Mapping[str, str]
    key: Mapping[str, Any] = field(default_factory=lambda: {"id": int})
    logged: str | None = None
    held: Held = Held.PATIENTS
    version: str | None = None
    """the column that changes with every change of a row; its answers carry an ETag"""
    is_descending: bool = False

    @cached_property
    def _is_by_id(self) -> bool:
        return tuple(self.key) == ("id",)

    def page(self, query: Paging) -> Response:
        """One page, ordered by the key: a bare JSON array, with `Link: rel="next"` when there is more."""
        page = self.find(query)
        return page.with_headers(Answer(page.body, content_type="application/json"))

    def find(self, query: Paging) -> Page:
        """One page, ordered by the key. Ends the request with 422 when `after` is no cursor of this list."""
        page = query.page or 1
        size = query.limit or query.per_page or DEFAULT_SIZE
        given, after = self._given(query), self._after(query)
        # Before the page: that is the last query of its request.
        total = None
        if query.count is not Count.FALSE:
            total = self.count(query, COUNT_CAP if query.count is Count.TRUE else None)
        found = fetch_logged(
            self._page_query(tuple(given), tuple(after), size, is_first=page == 1),
            self.held,
            **({} if page == 1 else {"offset": (page - 1) * size}),
            **after,
            **given,
        )
        rows = found.body or ""
        following: dict[str, str] | None = None
        if found.has_more:
            rows = rows.rpartition(SEPARATOR)[0]
            following = {"after": self._cursor(found.last)} if query.by_cursor else {"page": str(page + 1)}
        return Page(f"[{rows}]", following, total)

    def count(self, query: Paging, cap: int | None) -> int:
        """How many rows the filters let through; `cap` where there are as many or more."""
        given = self._given(query)
        counted = f"select from {self.table} where {' and '.join(self._conditions(given)) or 'true'} limit %(cap)s"
        found: int = fetch_one(f"select count(*) from ({counted}) as entities", cap=cap, **given)[0]
        return found

    def one(self, entity_id: int) -> Response:
        """One entity as a JSON object; ends the request with 404 when there is none."""
        found = fetch_first(
            f"""
            select {self.logged or "null"} as logged, {self.version or "null"} as version,
                row_to_json(entity)::text as body
            from (select {self.columns} from {self.table} where id = %(id)s) as entity
            """,
            id=entity_id,
        )
        if found is None:
            abort(missing())
        if self.logged:
            note(self.held, [found.logged])
        answer = Answer(found.body, content_type="application/json")
        if self.version:
            answer.set_etag(etag(found.version))
        return answer

    # The size is part of the text, not a parameter: PostgreSQL would take any page for a tenth of the table, and plan
    # each anew, which is half of what a page costs.
    @lru_cache(maxsize=1000)  # noqa: B019 - there are a few listings, as long as the application lives
    def _page_query(self, given: tuple[str, ...], after: tuple[str, ...], size: int, *, is_first: bool) -> str:
        """SQL for a page of a size: with which filters, and after which parts of a key."""
        comes_after, direction = ("<", " desc") if self.is_descending else (">", "")
        onwards = (
            [f"({', '.join(self.key)}) {comes_after} ({', '.join(f'%({name})s' for name in after)})"] if after else []
        )
        last = [f"(array_agg({key}))[{size}]::text" for key in self.key]
        # Aggregates see the rows in the order that the limit leaves them in. An array of their texts, to be cut in SQL,
        # cost half as much again as the text that holds one too many.
        return f"""
            select
                string_agg(row_to_json(entity)::text, '{SEPARATOR}') as body,
                {left(self._logged(size))},
                {last[0] if self._is_by_id else f"json_build_array({', '.join(last)})::text"} as last,
                count(*) > {size} as has_more
            from (
                select {self.columns} from {self.table}
                where {" and ".join([*onwards, *self._conditions(given)]) or "true"}
                order by {", ".join(f"{column}{direction}" for column in self.key)}
                limit {size + 1} {"" if is_first else "offset %(offset)s"}
            ) as entity
        """

    def _logged(self, size: int) -> str:
        """SQL for the array of what the rows of a page are about, each once."""
        if self.logged is None:
            return "null"
        of_page = f"(array_agg({self.logged}))[:{size}]"
        return of_page if tuple(self.key) == (self.logged,) else f"array(select distinct unnest({of_page}) order by 1)"

    def _given(self, query: Paging) -> dict[str, object]:
        return {name: value for name in self.filters if (value := getattr(query, name)) is not None}

    def _conditions(self, given: Iterable[str]) -> list[str]:
        return [f"({self.filters[name]})" for name in given]

    def _cursor(self, last: str) -> str:
        """What `after` takes: an id as it is, another key's JSON array in base64url."""
        return last if self._is_by_id else urlsafe_b64encode(last.encode()).rstrip(b"=").decode()

    def _after(self, query: Paging) -> dict[str, object]:
        """The key that the page comes after, by parameter."""
        cursor = query.cursor
        if cursor is None:
            return {}
        if isinstance(cursor, int):
            return {"after_0": cursor}
        try:
            last = list(json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
            return {
                f"after_{number}": TypeAdapter(kind).validate_python(text)
                for number, (kind, text) in enumerate(zip(self.key.values(), last, strict=True))
            }
        except (TypeError, ValueError, RecursionError):
            abort(invalid([InvalidInput(pointer="#/after", code="cursor")]))


def _escaped(value: str) -> str:
    """A parameter's value in an address."""
    return value if value.isalnum() and value.isascii() else quote_plus(value)


def etag(version: datetime) -> str:
    """The version of an entity, by when it last changed."""
    return hashlib.sha256(version.isoformat().encode()).hexdigest()[:32]


def columns(schema: type[BaseModel], **expressions: str) -> str:
    """The select list that yields a schema: its fields in order, each the column of that name unless given as SQL."""
    return ", ".join(f"{expressions[name]} as {name}" if name in expressions else name for name in schema.model_fields)
