"""Analytics, from the published marts."""

from __future__ import annotations

from flask import Response, abort, request

from backend.analytics import queries
from backend.analytics.schemas import FacilityStats, FacilityStatsParameters
from backend.answers import resource
from backend.problems import ProblemType, unavailable

analytics = resource("analytics", "/api/analytics", "What the published marts say")


@analytics.get("/facility-stats", responses={200: FacilityStats, 304: {"description": "nothing was published since"}})
def facility_stats(query: FacilityStatsParameters) -> Response:
    """Patients, medical records and mean triage level per facility, as of the last publication"""
    as_of = queries.published_at()
    if as_of is None:
        abort(
            unavailable(
                "No marts were published yet. Run the pipeline (`medilink run`, or trigger medilink_etl_pipeline).",
                ProblemType.NOTHING_PUBLISHED,
            )
        )
    etag = as_of.isoformat()
    if request.if_none_match.contains(etag):
        answer = Response(status=304)
    else:
        answer = Response(queries.facility_stats(as_of, query.facility_id), content_type="application/json")
    answer.set_etag(etag)
    return answer
