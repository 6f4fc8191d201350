"""Resources: what takes a request's parameters to its route, and how answers are described in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Response, abort
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.operation import Operation
from flask_openapi3.models.tag import Tag
from flask_openapi3.utils import get_responses
from pydantic import BaseModel, ValidationError

from backend.api import Answer
from backend.context import kept
from backend.problems import invalid_request

SECURITY: list[dict[str, list[Any]]] = [{"token": []}]


def operation_id(**names: str) -> str:
    """What generated clients call an operation: the name of its function."""
    return names["name"]


def json_of(body: BaseModel, status: int = 200) -> Response:
    """A schema's instance as an answer."""
    return Answer(body.model_dump_json(), status, content_type="application/json")


def refused(description: str) -> dict[str, Any]:
    """An answer that is a problem."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


WRITTEN: dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None] = {
    409: refused("the natural key is taken, others refer to it, or a file delivered it"),
    412: refused("not the version that If-Match names"),
    408: refused("the body came too slowly"),
    413: refused("the body is too large"),
}

CREATED: dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None] = {
    **WRITTEN,
    404: refused("made before with the same Idempotency-Key, and deleted since"),
}

PAGE_HEADERS: dict[str, Any] = {
    "Link": {
        "description": 'address of the next page, `rel="next"`; missing on the last one',
        "schema": {"type": "string"},
    },
    "X-Total-Count": {
        "description": "how many entities the filters let through, when asked for with `count`",
        "schema": {"type": "integer"},
    },
}


def array_of(schema: type[BaseModel], description: str = "all of them") -> dict[str, Any]:
    """A bare array."""
    items = {"$ref": f"#/components/schemas/{schema.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": {"type": "array", "items": items}}}}


def list_of(schema: type[BaseModel], description: str = "one page, ordered by id") -> dict[str, Any]:
    """A page of a list."""
    return {**array_of(schema, description), "headers": PAGE_HEADERS}


class Resource(APIBlueprint):
    """A blueprint whose routes validate at once what stands in an address: most take nothing else."""

    @staticmethod
    def create_view_func(func: Callable[..., Response], *models: Any, **options: Any) -> Callable[..., Response]:
        """The view of a route; flask-openapi3's own, which looks up each field by itself, where it takes more."""
        header, cookie, path, query, *others = models
        if header or cookie or any(others):
            view: Callable[..., Response] = APIBlueprint.create_view_func(func, *models, **options)
            return view

        @wraps(func)
        def validated(**parts: object) -> Response:
            try:
                taken = {"path": path.model_validate(parts)} if path else {}
                if query:
                    taken["query"] = query.model_validate(kept().parameters)
            except ValidationError as error:
                abort(invalid_request(error))
            return func(**taken)

        return validated


def resource(name: str, url_prefix: str, description: str, *listed: type[BaseModel]) -> APIBlueprint:
    """A blueprint of data routes: closed without a token, and with the errors that any of them may answer.

    `listed` are schemas that only lists refer to.
    """
    blueprint = Resource(
        name,
        __name__,
        url_prefix=url_prefix,
        operation_id_callback=operation_id,
        abp_tags=[Tag(name=name.replace("_", "-"), description=description)],
        abp_security=SECURITY,
        abp_responses={
            401: refused("without a valid token"),
            403: refused("the caller's role may not do this"),
            422: refused("unknown or invalid parameters"),
            429: refused("too many requests; Retry-After says how many seconds to wait"),
            503: refused("the database does not answer, or not in time"),
        },
    )
    for schema in listed:
        get_responses({"200": schema}, blueprint.components_schemas, Operation())
    return blueprint
