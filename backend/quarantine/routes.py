"""Rows that could not enter production, for those who mend them."""

from __future__ import annotations

from flask import Response, abort, g, request

from backend.access import MATRIX
from backend.answers import PAGE_HEADERS, array_of, list_of, refused, resource
from backend.api import Answer
from backend.database import writing
from backend.parameters import ById, Parameters
from backend.problems import InvalidInput, ProblemType, invalid, missing, problem
from backend.quarantine import queries
from backend.quarantine.schemas import Discard, Entry, EntryDetail, EntryParameters, Reason

quarantine = resource("quarantine", "/api/quarantine", "Rows that could not enter production", Entry, Reason)

LISTED = list_of(Entry)
LISTED["content"]["text/csv"] = {
    "schema": {
        "type": "string",
        "description": "every open row of one feed in its own layout; what is wrong is in columns that begin with _",
    }
}


@quarantine.get("", responses={200: {**LISTED, "headers": PAGE_HEADERS}})
def list_entries(query: EntryParameters) -> Response:
    """List rows in quarantine, or with `Accept: text/csv` export one feed's"""
    if request.accept_mimetypes.best_match(["application/json", "text/csv"]) != "text/csv":
        return queries.ENTRIES.page(query)
    # Who may not see one row's values may not see them all.
    if g.caller.role not in MATRIX["quarantine.get_entry"]:
        abort(problem(ProblemType.FORBIDDEN, f"The role {g.caller.role} may not see the values of rows."))
    if query.feed is None:
        abort(invalid([InvalidInput(pointer="#/feed", code="missing")]))
    try:
        text = queries.export(query)
    except queries.TooMany:
        abort(
            problem(
                ProblemType.INVALID_REQUEST,
                f"More than {queries.EXPORT_LIMIT:,} rows. Narrow them down with file, code or disposition.",
                errors=[InvalidInput(pointer="#/feed", code="too_many")],
            )
        )
    answer = Response(text, content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{query.feed}-corrected.csv"'
    return answer


@quarantine.get("/summary", responses={200: array_of(Reason)})
def summary(query: Parameters) -> Response:
    """Open rows by feed and first error, with what to do"""
    return Answer(queries.summary(), content_type="application/json")


@quarantine.get("/<int:id>", responses={200: EntryDetail, 404: refused("no such entry")})
def get_entry(path: ById, query: Parameters) -> Response:
    """Get one row in quarantine with its values"""
    return queries.DETAILS.one(path.id)


@quarantine.post("/<int:id>/discard", responses={204: None, 404: refused("no such open entry")})
def discard_entry(path: ById, body: Discard, query: Parameters) -> Response:
    """Give a row up for good; delivered again as it was, it stays discarded"""
    with writing() as connection:
        try:
            queries.discard(connection, [path.id], g.caller.name, body.reason)
        except queries.NotOpen:
            abort(missing())
    return Response(status=204)
