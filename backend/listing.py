"""Lists and single entities of a table, as JSON that PostgreSQL itself builds: filters, two ways of paging, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from flask import Response, abort, request
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from backend.access_log import note_patients
from backend.database import fetch_first, fetch_one
from backend.parameters import Parameters
from backend.problems import ProblemType, problem

COUNT_CAP = 10_001
DEFAULT_SIZE = 50
Size = Annotated[int, Field(ge=1, le=1000)]


class Count(StrEnum):
    """Whether a list's X-Total-Count is wanted; `true` stops counting at 10,001."""

    FALSE = "false"
    TRUE = "true"
    EXACT = "exact"


class ListParameters(Parameters):
    """Paging by number (`page`, `per_page`), or on from an id (`after`, `limit`), which is as quick on any page."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="number of the page, from 1", examples=[2]
    )
    per_page: Size | None = Field(None, description=f"entities per page, {DEFAULT_SIZE} unless given", examples=[100])
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="only entities after the one with this id; not with page or per_page", examples=[50]
    )
    limit: Size | None = Field(
        None,
        description=f"entities at most, {DEFAULT_SIZE} unless given; not with page or per_page",
        examples=[100],
    )
    count: Count = Field(
        Count.FALSE, description="whether to answer X-Total-Count: true counts to 10,001 at most, exact to the end"
    )

    @model_validator(mode="after")
    def _one_way_of_paging(self) -> ListParameters:
        if self.by_cursor and (self.page or self.per_page):
            raise PydanticCustomError("paging_mixed", "page and per_page cannot be combined with after and limit")
        return self

    @property
    def by_cursor(self) -> bool:
        """Whether the caller pages with `after` and `limit`."""
        return self.after is not None or self.limit is not None


@dataclass(frozen=True)
class Listing:
    """A table as a resource: the columns of its schema, and one SQL condition per filter (bound as `%(name)s`).

    `patient` is the column that says which patient a row is about, for the access log.
    """

    table: str
    columns: str
    filters: Mapping[str, str]
    patient: str | None = None

    def page(self, query: ListParameters) -> Response:
        """One page, ordered by id: a bare JSON array, with `Link: rel="next"` when there is more."""
        page, after = query.page or 1, query.after or 0
        size = query.limit or query.per_page or DEFAULT_SIZE
        given = {name: getattr(query, name) for name in self.filters if name in query.model_fields_set}
        conditions = " and ".join([f"({self.filters[name]})" for name in given] or ["true"])

        found = fetch_one(
            f"""
            select
                coalesce(json_agg(body order by id) filter (where position <= %(size)s), '[]')::text as body,
                array_agg(patient) filter (where position <= %(size)s) as patients,
                max(id) filter (where position <= %(size)s) as last_id,
                count(*) > %(size)s as has_more
            from (
                select id, {self.patient or "null"} as patient, row_number() over (order by id) as position,
                    row_to_json(entity) as body
                from (
                    select {self.columns} from {self.table}
                    where id > %(after)s and {conditions}
                    order by id
                    limit %(size)s + 1 offset %(offset)s
                ) as entity
            ) as entities
            """,
            size=size,
            after=after,
            offset=(page - 1) * size,
            **given,
        )
        if self.patient:
            note_patients(found.patients or ())
        answer = Response(found.body, content_type="application/json")
        if found.has_more:
            position = {"after": found.last_id} if query.by_cursor else {"page": page + 1}
            following = urlencode({**request.args, **position})
            answer.headers["Link"] = f'<{request.path}?{following}>; rel="next"'
        if query.count is not Count.FALSE:
            cap = COUNT_CAP if query.count is Count.TRUE else None
            total = fetch_one(
                f"select count(*) from (select from {self.table} where {conditions} limit %(cap)s) as entities",
                cap=cap,
                **given,
            )
            answer.headers["X-Total-Count"] = str(total[0])
        return answer

    def one(self, entity_id: int) -> Response:
        """One entity as a JSON object; ends the request with 404 when there is none."""
        found = fetch_first(
            f"""
            select {self.patient or "null"} as patient, row_to_json(entity)::text as body
            from (select {self.columns} from {self.table} where id = %(id)s) as entity
            """,
            id=entity_id,
        )
        if found is None:
            abort(problem(ProblemType.NOT_FOUND, "There is no such id here. List the resource for those there are."))
        if self.patient:
            note_patients([found.patient])
        return Response(found.body, content_type="application/json")


def columns(schema: type[BaseModel], **expressions: str) -> str:
    """The select list that yields a schema: its fields in order, each the column of that name unless given as SQL."""
    return ", ".join(f"{expressions[name]} as {name}" if name in expressions else name for name in schema.model_fields)
