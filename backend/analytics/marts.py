"""A published mart as a resource: rows as they are, or without small numbers; all of one request from one release."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import Response, abort, g, request

from backend.access import Scope
from backend.api import Answer
from backend.database import fetch_one, pass_publish_gate
from backend.listing import Listing, Paging
from backend.problems import ProblemType, unavailable

# A count that tells of no single person: 1 to 7 suppressed (null), others rounded to 5.
ROUNDED = "case when {count} not between 1 and 7 then 5 * round({count} / 5.0)::bigint end"


def rounded(*counts: str) -> dict[str, str]:
    """SQL for each of these counts, without small numbers."""
    return {count: ROUNDED.format(count=count) for count in counts}


def suppressed(*measures: str, unless: str = "false") -> dict[str, str]:
    """SQL for each of these measures, null unless the condition holds: they tell what the rounded counts hide."""
    return {measure: f"case when {unless} then {measure} end" for measure in measures}


def spelled(as_of: datetime) -> str:
    """When a release was published, as every answer writes it: who keeps answers by it compares texts."""
    return as_of.isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Mart:
    """A mart: its rows as they are, and as a viewer sees them."""

    exact: Listing
    rounded: Listing

    def page(self, query: Paging) -> Response:
        """One page: `as_of`, and `rows` in the order of the key."""

        def body(as_of: datetime) -> Response:
            page = (self.rounded if g.scope is Scope.ROUNDED else self.exact).find(query)
            text = f'{{"as_of": "{spelled(as_of)}", "rows": {page.body}}}'
            return page.with_headers(Answer(text, content_type="application/json"))

        return of_release(body)


def of_release(body: Callable[[datetime], Response]) -> Response:
    """The answer that `body` makes from the release that is live, or 304 where the caller has it already.

    Ends the request with 503 before the first publication.
    """
    pass_publish_gate()
    as_of = _published_at()
    if as_of is None:
        abort(
            unavailable(
                "No marts were published yet. Run the pipeline (`medilink run`, or trigger medilink_etl_pipeline).",
                ProblemType.NOTHING_PUBLISHED,
            )
        )
    # The same address answers each role and facility differently.
    seen = f"{spelled(as_of)} {g.scope} {g.caller.facilities if g.scope is Scope.OWN else ''}"
    etag = hashlib.sha256(seen.encode()).hexdigest()[:32]
    # Weakly: proxies that compress make ETags weak.
    answer = Response(status=304) if request.if_none_match.contains_weak(etag) else body(as_of)
    answer.set_etag(etag)
    return answer


def _published_at() -> datetime | None:
    """When the marts were published that are live; None before the first time."""
    # The publisher names the live release in the schema's comment; after a rollback it is not the newest.
    live: datetime | None = fetch_one(
        """
        select max(published_at) from audit.releases
        where 'release ' || release_id = obj_description(to_regnamespace('analytics'), 'pg_namespace')
        """
    )[0]
    return live
