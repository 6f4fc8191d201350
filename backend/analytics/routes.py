"""Analytics, from the published marts."""

from __future__ import annotations

import hashlib

from flask import Response, abort, g, request

from backend.access import Scope
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
    # The same address answers each role and facility differently.
    seen = f"{as_of.isoformat()} {g.scope} {g.caller.facility_ids if g.scope is Scope.OWN else ''}"
    etag = hashlib.sha256(seen.encode()).hexdigest()[:32]
    if request.if_none_match.contains(etag):
        answer = Response(status=304)
    else:
        answer = Response(queries.facility_stats(as_of, query.facility_id, g.scope), content_type="application/json")
    answer.set_etag(etag)
    return answer
