"""What all requests' parameters have in common: unknown ones are refused, never ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from backend.schema import Schema

Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
"""Text to filter by; PostgreSQL's text holds no NUL."""

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A key of the warehouse: bigint."""


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


class ById(Parameters):
    """The path of one entity."""

    id: Id = Field(description="id of the entity", examples=[1])
