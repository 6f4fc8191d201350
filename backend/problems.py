"""Errors as RFC 9457 `application/problem+json`: a stable type, what to do next, never a value, never a trace."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import psycopg
import sqlalchemy.exc
from flask import Response, current_app, request
from flask_openapi3.openapi import OpenAPI
from psycopg.errors import QueryCanceled, UndefinedColumn, UndefinedTable
from pydantic import Field, ValidationError
from werkzeug.exceptions import HTTPException

from backend.api import Answer
from backend.schema import Schema


class ProblemType(StrEnum):
    """Every kind of error the API answers with; `/problems/<type>` in an answer's `type`."""

    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CONFLICT = "conflict"
    DELIVERED = "delivered"
    PRECONDITION_FAILED = "precondition-failed"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TOO_SLOW = "body-too-slow"
    INVALID_REQUEST = "invalid-request"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL_ERROR = "internal-error"
    DATABASE_UNAVAILABLE = "database-unavailable"
    QUERY_TIMEOUT = "query-timeout"
    NOTHING_PUBLISHED = "nothing-published"
    LOAD_UNDER_WAY = "load-under-way"
    AIRFLOW_UNAVAILABLE = "airflow-unavailable"
    STORAGE_UNAVAILABLE = "storage-unavailable"


STATUSES = {
    ProblemType.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ProblemType.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    ProblemType.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ProblemType.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ProblemType.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ProblemType.CONFLICT: HTTPStatus.CONFLICT,
    ProblemType.DELIVERED: HTTPStatus.CONFLICT,
    ProblemType.PRECONDITION_FAILED: HTTPStatus.PRECONDITION_FAILED,
    ProblemType.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ProblemType.BODY_TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    ProblemType.INVALID_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemType.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    ProblemType.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    ProblemType.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.QUERY_TIMEOUT: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.NOTHING_PUBLISHED: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.LOAD_UNDER_WAY: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.AIRFLOW_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemType.STORAGE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

# What /problems/<type> says to whoever follows an answer's `type`.
MEANINGS = {
    ProblemType.BAD_REQUEST: "The request cannot be understood: its syntax or its encoding is wrong. Correct it.",
    ProblemType.UNAUTHORIZED: "No valid token came with the request. Get one: POST /api/auth/token.",
    ProblemType.FORBIDDEN: "The role of the token does not cover this. Ask the operator for a client that may do it.",
    ProblemType.NOT_FOUND: "Nothing is there, or nothing that the token's facilities cover.",
    ProblemType.METHOD_NOT_ALLOWED: "The address does not take this method. The Allow header lists those it takes.",
    ProblemType.CONFLICT: "There is one with the same natural key, or others refer to this one. Look at those first.",
    ProblemType.DELIVERED: "A file delivered it: deleted here, the next delivery would bring it back.",
    ProblemType.PRECONDITION_FAILED: "It is not the version that If-Match names: somebody changed it. Get it again.",
    ProblemType.BODY_TOO_LARGE: "The body is larger than the API takes. Send less at a time.",
    ProblemType.BODY_TOO_SLOW: "The body came too slowly: it may take 5 seconds, and one more for each 64 KiB.",
    ProblemType.INVALID_REQUEST: "Parameters or fields break their schema; errors names each with pointer and code.",
    ProblemType.TOO_MANY_REQUESTS: "More requests than one client or address may send. Wait Retry-After seconds.",
    ProblemType.INTERNAL_ERROR: "The API failed. Its log says where; tell the operator when it happened.",
    ProblemType.DATABASE_UNAVAILABLE: "The database does not answer. Try again after Retry-After seconds.",
    ProblemType.QUERY_TIMEOUT: "The query took longer than the API allows. Narrow it down with filters.",
    ProblemType.LOAD_UNDER_WAY: "A run of the pipeline is writing the same table. Try again after Retry-After seconds.",
    ProblemType.AIRFLOW_UNAVAILABLE: "Airflow does not answer. Try again after Retry-After seconds.",
    ProblemType.STORAGE_UNAVAILABLE: "The bucket does not answer. Try again after Retry-After seconds.",
    ProblemType.NOTHING_PUBLISHED: "The pipeline has not published any marts yet. Run it once.",
}

# What Flask itself refuses, and what the caller can do about it.
ADVICE = {
    HTTPStatus.NOT_FOUND: (
        ProblemType.NOT_FOUND,
        "Nothing is at this address. /openapi.json lists those there are.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (ProblemType.METHOD_NOT_ALLOWED, "Use one of the methods of the Allow header."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (ProblemType.BODY_TOO_LARGE, "The body is too large. Send less at a time."),
    HTTPStatus.REQUEST_TIMEOUT: (ProblemType.BODY_TOO_SLOW, "The body came too slowly. Send it again."),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        ProblemType.INTERNAL_ERROR,
        "The API failed; its log says where. Tell the operator when it happened.",
    ),
}


# A body may be wrong in more places than anybody reads.
NAMED_ERRORS = 100


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
    return Answer(body.model_dump_json(exclude_defaults=True), status, headers, content_type="application/problem+json")


def invalid_request(error: ValidationError) -> Response:
    """422 for parameters that break their schema: where and why, without the values and pydantic's messages."""
    errors = [
        InvalidInput(pointer=pointer(*item["loc"]), code=item["type"])
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:NAMED_ERRORS]
    ]
    return invalid(errors)


def invalid(errors: list[InvalidInput]) -> Response:
    """422 for what `errors` names."""
    return problem(
        ProblemType.INVALID_REQUEST,
        "Correct what errors names; /openapi.json describes every parameter.",
        errors=errors,
    )


def missing() -> Response:
    """404 for an entity that is not there, or not the caller's to see: the two look alike."""
    return problem(ProblemType.NOT_FOUND, "There is no such id here. List the resource for those there are.")


def pointer(*keys: str | int) -> str:
    """The JSON pointer to what stands under keys."""
    return "/".join(["#", *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)])


def unavailable(detail: str, kind: ProblemType = ProblemType.DATABASE_UNAVAILABLE) -> Response:
    """503, to be tried again in a few seconds."""
    return problem(kind, detail, headers={"Retry-After": "5"})


def handle_problems(app: OpenAPI) -> None:
    """Answer every error of Flask and of the database as a problem."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response | HTTPException:
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        if status < HTTPStatus.BAD_REQUEST or error.response is not None:
            return error
        kind, detail = ADVICE.get(status, (ProblemType.BAD_REQUEST, "The request cannot be understood."))
        headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return problem(kind, detail, headers=headers)

    @app.errorhandler(RecursionError)
    def too_deep(_: RecursionError) -> Response:
        return problem(ProblemType.BAD_REQUEST, "The body is nested too deeply.")

    @app.errorhandler(UndefinedTable)
    @app.errorhandler(UndefinedColumn)
    def mart_missing(error: psycopg.Error) -> Response:
        current_app.logger.warning("%s: database: %s", request.endpoint, type(error).__name__)
        return unavailable(
            "What is published is older than this API and lacks this mart. Run the pipeline (`medilink run`).",
            ProblemType.NOTHING_PUBLISHED,
        )

    @app.errorhandler(sqlalchemy.exc.OperationalError)
    @app.errorhandler(sqlalchemy.exc.InterfaceError)
    @app.errorhandler(sqlalchemy.exc.TimeoutError)
    @app.errorhandler(psycopg.OperationalError)
    @app.errorhandler(psycopg.InterfaceError)
    def database_failed(error: sqlalchemy.exc.SQLAlchemyError | psycopg.Error) -> Response:
        cause: Any = getattr(error, "orig", error)
        current_app.logger.warning("%s: database: %s", request.endpoint, type(cause).__name__)
        if isinstance(cause, QueryCanceled):
            return unavailable("The query took too long. Narrow it down with filters.", ProblemType.QUERY_TIMEOUT)
        return unavailable("The database does not answer. Try again in a few seconds.")
