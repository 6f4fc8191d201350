"""The documentation of the API (open, and without any other host) and of the warehouse (dbt's, closed)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import cast

from flask import Blueprint, Response, abort, current_app, jsonify, send_file, send_from_directory
from flask_openapi3.openapi import OpenAPI

from backend.problems import MEANINGS, STATUSES, ProblemType, problem

PAGES = Path(__file__).parent / "pages"
ASSETS = {
    "pages": str(PAGES),
    "swagger": str(files("flask_openapi3_swagger").joinpath("templates/swagger")),
    "redoc": str(files("flask_openapi3_redoc").joinpath("templates/redoc")),
}

# Swagger and Redoc write style elements, and Redoc searches in a worker made from a blob.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# dbt's page is one file with its scripts and data inline; it may load and call nothing.
DBT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

documentation = Blueprint("documentation", __name__)


@documentation.get("/")
def swagger() -> Response:
    """The API, to read and to try out."""
    return _page("swagger.html")


@documentation.get("/redoc")
def redoc() -> Response:
    """The API, to read."""
    return _page("redoc.html")


@documentation.get("/openapi.json")
def openapi() -> Response:
    """The API as an OpenAPI 3.1 document."""
    return jsonify(cast("OpenAPI", current_app).api_doc)


@documentation.get("/assets/<any(pages, swagger, redoc):package>/<path:name>")
def asset(package: str, name: str) -> Response:
    """A script, style sheet or picture of the pages."""
    return send_from_directory(ASSETS[package], name, max_age=86400)


@documentation.get("/problems/<name>")
def problem_type(name: str) -> Response:
    """What a type of error means, and what to do about it."""
    if name not in list(ProblemType):
        abort(problem(ProblemType.NOT_FOUND, "There is no error of this type."))
    kind = ProblemType(name)
    status = STATUSES[kind]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>{kind} - Medilink API</title>"
        f"<h1>{kind}</h1><p>{status.value} {status.phrase}</p><p>{MEANINGS[kind]}</p>"
        "<p><a href='/'>The API, route by route</a></p>"
    )
    return Response(page, mimetype="text/html")


@documentation.get("/dbt-docs/")
def dbt_docs() -> Response:
    """The warehouse's models, columns, tests and lineage, as dbt documents them."""
    page: Path = current_app.config["MEDILINK_HOME"] / "dbt" / "docs" / "static_index.html"
    if not page.is_file():
        abort(problem(ProblemType.NOT_FOUND, "dbt has not written its documentation yet. Run the pipeline once."))
    answer = send_file(page)
    answer.headers["Content-Security-Policy"] = DBT_POLICY
    return answer


def _page(name: str) -> Response:
    answer = Response((PAGES / name).read_bytes(), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = PAGE_POLICY
    return answer
