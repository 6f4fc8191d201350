"""How the pipeline stands, in numbers."""

from __future__ import annotations

from collections.abc import Iterator

from backend.database import fetch_all

GAUGES: tuple[tuple[str, str, list[str], str], ...] = (
    (
        "quarantine_open_entries",
        "Rows in quarantine that wait, by feed and disposition",
        ["feed", "disposition"],
        "select feed, disposition, count(*) from quarantine.entries where closed_at is null group by 1, 2",
    ),
    (
        "files",
        "Files in the ledger, by status",
        ["status"],
        "select status, count(*) from audit.ingest_files group by 1",
    ),
    (
        "last_publication_timestamp_seconds",
        "When the newest release was published, seconds since 1970",
        [],
        "select extract(epoch from max(published_at)) from audit.releases having max(published_at) is not null",
    ),
    (
        "last_run_succeeded",
        "Whether the newest run that has ended succeeded, 1 or 0",
        [],
        """
        select (state = 'succeeded')::integer from audit.batches
        where state <> 'running' order by batch_id desc limit 1
        """,
    ),
)

Gauges = Iterator[tuple[str, str, list[str], list[tuple[list[str], float]]]]


def gauges() -> Gauges:
    """Each gauge: name, description, labels, and its values by the values of the labels."""
    for name, description, labels, query in GAUGES:
        rows = [([str(row[n]) for n in range(len(labels))], float(row[len(labels)])) for row in fetch_all(query)]
        yield name, description, labels, rows
