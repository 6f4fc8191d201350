"""Errors as RFC 9457 `application/problem+json`: a stable type, what to do next, never a value, never a trace."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any

import sqlalchemy.exc
from flask import Response, abort, current_app, request
from flask_openapi3.openapi import OpenAPI
from psycopg.errors import QueryCanceled
from pydantic import Field, ValidationError
from werkzeug.exceptions import HTTPException

from backend.schema import Schema


class ProblemType(StrEnum):
    """Every kind of error the API answers with; `/problems/<type>` in an answer's `type`."""

    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    BODY_TOO_LARGE = "body-too-large"
    INVALID_REQUEST = "invalid-request"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL_ERROR = "internal-error"
    DATABASE_UNAVAILABLE = "database-unavailable"
    QUERY_TIMEOUT = "query-timeout"
    NOTHING_PUBLISHED = "nothing-published"


STATUSES = {
    ProblemType.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ProblemType.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ProblemType.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ProblemType.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ProblemType.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ProblemType.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ProblemType.INVALID_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemType.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    ProblemType.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ProblemType.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.QUERY_TIMEOUT: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.NOTHING_PUBLISHED: HTTPStatus.SERVICE_UNAVAILABLE,
}

# What Flask itself refuses, and what the caller can do about it.
ADVICE = {
    HTTPStatus.NOT_FOUND: (
        ProblemType.NOT_FOUND,
        "Nothing is at this address. /openapi.json lists those there are.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (ProblemType.METHOD_NOT_ALLOWED, "Use one of the methods of the Allow header."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (ProblemType.BODY_TOO_LARGE, "The body is too large. Send less at a time."),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        ProblemType.INTERNAL_ERROR,
        "The API failed; its log says where. Tell the operator when it happened.",
    ),
}


class InvalidInput(Schema):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer to the parameter or field", examples=["#/per_page"])
    code: str = Field(description="what is wrong with it; stable", examples=["less_than_equal"])


class Problem(Schema):
    """An error, after RFC 9457."""

    type: str = Field(description="kind of error; stable", examples=["/problems/invalid-request"])
    title: str = Field(description="the status in words", examples=["Unprocessable Entity"])
    status: int = Field(description="HTTP status", examples=[422])
    detail: str = Field(description="what happened and what to do next", examples=["Correct what errors names."])
    errors: list[InvalidInput] = Field([], description="what is wrong, one by one; never a value")


def problem(
    kind: ProblemType,
    detail: str,
    *,
    errors: list[InvalidInput] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as an answer; `abort(problem(...))` ends the request with it."""
    status = STATUSES[kind]
    body = Problem(type=f"/problems/{kind}", title=status.phrase, status=status, detail=detail, errors=errors or [])
    return Response(
        body.model_dump_json(exclude_defaults=True), status, headers, content_type="application/problem+json"
    )


def invalid_request(error: ValidationError) -> Response:
    """422 for parameters that break their schema: where and why, without the values and pydantic's messages."""
    errors = [
        InvalidInput(pointer="/".join(["#", *map(_escaped, item["loc"])]), code=item["type"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return _invalid(errors)


def refuse_repeated_parameters() -> None:
    """422 for `?sex=F&sex=M`: neither value may silently win."""
    errors = [
        InvalidInput(pointer=f"#/{_escaped(name)}", code="repeated")
        for name, values in request.args.lists()
        if len(values) > 1
    ]
    if errors:
        abort(_invalid(errors))


def _invalid(errors: list[InvalidInput]) -> Response:
    return problem(
        ProblemType.INVALID_REQUEST,
        "Correct what errors names; /openapi.json describes every parameter.",
        errors=errors,
    )


def _escaped(key: str | int) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def unavailable(detail: str, kind: ProblemType = ProblemType.DATABASE_UNAVAILABLE) -> Response:
    """503, to be tried again in a few seconds."""
    return problem(kind, detail, headers={"Retry-After": "5"})


class Api(OpenAPI):
    """The application, with a log that tells where something failed, and never with which values."""

    def log_exception(
        self, exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> None:
        kind, _, trace = exc_info
        self.logger.error(
            "%s failed: %s\n%s", request.endpoint, kind and kind.__name__, "".join(traceback.format_tb(trace))
        )


def handle_problems(app: OpenAPI) -> None:
    """Answer every error of Flask and of the database as a problem."""
    app.before_request(refuse_repeated_parameters)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response | HTTPException:
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        if status < HTTPStatus.BAD_REQUEST or error.response is not None:
            return error
        kind, detail = ADVICE.get(status, (ProblemType.BAD_REQUEST, "The request cannot be understood."))
        headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return problem(kind, detail, headers=headers)

    @app.errorhandler(sqlalchemy.exc.OperationalError)
    @app.errorhandler(sqlalchemy.exc.InterfaceError)
    @app.errorhandler(sqlalchemy.exc.TimeoutError)
    def database_failed(error: sqlalchemy.exc.SQLAlchemyError) -> Response:
        cause: Any = getattr(error, "orig", error)
        current_app.logger.warning("%s: database: %s", request.endpoint, type(cause).__name__)
        if isinstance(cause, QueryCanceled):
            return unavailable("The query took too long. Narrow it down with filters.", ProblemType.QUERY_TIMEOUT)
        return unavailable("The database does not answer. Try again in a few seconds.")
