"""What all requests' parameters have in common: unknown ones are refused, never ignored, and so are repeated ones."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl

from flask import Flask, abort
from pydantic import ConfigDict, Field, StringConstraints

from backend.context import kept, this_request
from backend.problems import InvalidInput, invalid, pointer
from backend.schema import Schema
from elt.contract import Column, contract

Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
"""Text to filter by; PostgreSQL's text holds no NUL."""

Given = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
"""Text of a body; what it may say is the contract's business."""

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A key of the warehouse: bigint."""


def read_parameters(app: Flask) -> None:
    """Read the parameters of a request's address, by name, into `kept().parameters`; repeated ones end it with 422."""

    @app.before_request
    def read() -> None:
        pairs = parse_qsl(this_request().query_string.decode(errors="replace"), keep_blank_values=True)
        parameters = kept().parameters = dict(pairs)
        if len(parameters) < len(pairs):
            # Of `?sex=F&sex=M` neither may silently win.
            times = Counter(name for name, _ in pairs)
            abort(invalid([InvalidInput(pointer=pointer(name), code="repeated") for name in times if times[name] > 1]))


class Parameters(Schema):
    """Parameters of a request's path or query; on its own: the request takes none."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """The schema, with examples of what may be left out put into words: Swagger would fill them in."""
        schema = super().model_json_schema(*args, **options)
        for name, parameter in schema.get("properties", {}).items():
            if "example" in parameter and name not in schema.get("required", ()):
                parameter["description"] += f", e.g. `{parameter.pop('example')}`"
        return schema


class Body(Schema):
    """A request's body: fields that are not of its schema are refused; null may stand where one may be left out.

    A body `held_to` a feed shows what the contract says of its columns; it is `elt.checks` that holds it to that.
    """

    is_nullable: ClassVar[bool] = True
    held_to: ClassVar[str | None] = None
    model_config = ConfigDict(extra="forbid")

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        schema = super().model_json_schema(*args, **options)
        for described in (schema, *schema.get("$defs", {}).values()) if cls.held_to else ():
            for name, field in described.get("properties", {}).items():
                if column := contract(cls.held_to).column_of(name):
                    field.update(_limits(column))
        return schema


def _limits(column: Column) -> dict[str, Any]:
    """What the contract says of a column, in JSON Schema's words."""
    bounds = (("minimum", column.minimum), ("maximum", column.maximum)) if column.type in {"number", "integer"} else ()
    said = {
        **{name: float(bound) for name, bound in bounds if bound is not None},
        "maxLength": column.max_length,
        "format": {"date": "date", "timestamp": "date-time"}.get(column.type),
    }
    return {name: value for name, value in said.items() if value is not None}


class CreateHeaders(Schema):
    """Headers of a write that makes something new."""

    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        None,
        alias="Idempotency-Key",
        description="any text; the same request with the same key is done once (24 hours)",
    )


class WriteHeaders(CreateHeaders):
    """Headers of a write to what is there."""

    if_match: str | None = Field(None, alias="If-Match", description="ETag of the version that the write is meant for")


class ById(Parameters):
    """The path of one entity."""

    id: Id = Field(description="id of the entity", examples=[1])
