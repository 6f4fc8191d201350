"""`promote`, `redrop`, `delta`, `parked`: first loads, files that come again, small files on large bases, waiting rows.

A bare insert takes the same staged rows, typed, into the empty table itself, with its keys and indexes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from psycopg import Connection

from benchmarks import data
from benchmarks.measure import RUNS, WORK, Bench, Cost, bench, drop, ingested, report, scaled, staged
from elt.pipeline import Pipeline

DELTA = 10_000
BARE = {
    "patients": (
        "facility_id, first_name, last_name, sex, dob, phone",
        "1 + split_part(facility_name, ' ', 2)::int, first_name, last_name, sex, dob::date, phone",
    ),
    "triage_visits": (
        """_key, patient_id, facility_id, triage_level, chief_complaint, vital_signs, conditions, recommendations,
            visit_id, visited_at""",
        """gen_random_uuid(), 1, 1, triage_level::smallint, chief_complaint, vital_signs,
            string_to_array(conditions, '; '), string_to_array(recommendations, '; '), visit_id, visited_at::timestamptz
        """,
    ),
}
PROVENANCE = "_delivered_hash, " + ", ".join(
    f"_{which}_{what}" for which in ("first", "last") for what in ("file_id", "row", "batch_id")
)


def bare_insert(admin: Connection, feed: str) -> None:
    """The staged rows as they are, typed and nothing else."""
    columns, values = BARE[feed]
    admin.execute(
        f"insert into public.{feed} ({columns}, {PROVENANCE}) select {values}, md5(_row_number::text)::uuid,"
        f" _file_id, _row_number, _batch_id, _file_id, _row_number, _batch_id from staging.{feed}"
    )


def promotion(place: Bench, pipeline: Pipeline, key: str) -> float:
    """Seconds of promoting what was dropped."""
    batch_id = staged(pipeline, key)
    cost = place.cost(lambda: pipeline.promote(batch_id))
    pipeline.end(batch_id)
    return cost.wall


def first_load(place: Bench, pipeline: Pipeline, feed: str) -> tuple[Cost, Cost]:
    """The bare insert, then the promotion, of the same staged rows."""
    batch_id = staged(pipeline, f"{feed} first")
    with place.admin(pipeline.settings.postgres_db) as admin:
        bare = place.cost(lambda: bare_insert(admin, feed))
        admin.execute(f"truncate public.{feed} restart identity cascade")
    first = place.cost(lambda: pipeline.promote(batch_id))
    pipeline.end(batch_id)
    return bare, first


def first_and_again(place: Bench, rows: int) -> list[dict[str, object]]:
    """First load, the same bytes, one byte changed; each run in a warehouse of its own."""
    files = {
        "patients": data.write(WORK / f"patients-{rows}.csv", data.patients(rows)),
        "triage_visits": data.write(WORK / f"visits-of-{rows}.csv", data.visits(rows, rows, dirty=False)),
    }
    seconds: dict[str, dict[str, list[float]]] = {
        feed: {what: [] for what in ("bare", "first", "same", "changed")} for feed in files
    }
    for turn in range(RUNS):
        pipeline = place.warehouse(f"bench_promote_{turn}")
        drop(pipeline, "facilities.csv", data.write(WORK / "facilities.csv", data.facilities()))
        ingested(pipeline, "facilities")
        for feed, path in files.items():
            changed = path.with_suffix(".changed")
            if not changed.exists():  # One digit of the first row's phone, or of its visit's id.
                changed.write_bytes(path.read_bytes().replace(b"0819", b"0818", 1).replace(b"V-0,", b"V-x,", 1))
            taken = seconds[feed]
            drop(pipeline, f"{feed}.csv", path)
            bare, first = first_load(place, pipeline, feed)
            taken["bare"].append(bare.wall)
            taken["first"].append(first.wall)
            drop(pipeline, f"{feed}-again.csv", path)
            taken["same"].append(promotion(place, pipeline, f"{feed} same"))
            drop(pipeline, f"{feed}.csv", changed)
            taken["changed"].append(promotion(place, pipeline, f"{feed} changed"))
        with place.admin("postgres") as admin:
            admin.execute(f"drop database bench_promote_{turn} with (force)")
    results: list[dict[str, object]] = []
    for feed, taken in seconds.items():
        middle = {what: statistics.median(values) for what, values in taken.items()}
        results.append(
            {
                "feed": feed,
                "rows": rows,
                "bare s": middle["bare"],
                "first s": middle["first"],
                "first / bare": middle["first"] / middle["bare"],
                "same bytes / first": middle["same"] / middle["first"],
                "one byte / first": middle["changed"] / middle["first"],
            }
        )
    return results


def delta(place: Bench, base: int) -> dict[str, object]:
    """Patients of which half are known, on a base of so many."""
    pipeline = place.warehouse("bench_delta")
    drop(pipeline, "facilities.csv", data.write(WORK / "facilities.csv", data.facilities()))
    drop(pipeline, "patients.csv", data.write(WORK / f"patients-{base}.csv", data.patients(base)))
    ingested(pipeline, "base")
    with place.admin(pipeline.settings.postgres_db) as admin:
        admin.execute("vacuum analyze public.patients")
    seconds = []
    for turn in range(RUNS + 1):
        first = base + DELTA // 2 * (turn - 1)
        path = WORK / f"delta-{base}-{turn}.csv"
        drop(pipeline, "patients.csv", data.write(path, data.patients(DELTA, first=first)))
        seconds.append(promotion(place, pipeline, f"delta {turn}"))
    return {"rows": DELTA, "base": base, "s": statistics.median(seconds[1:])}


def strangers(count: int) -> Iterator[str]:
    """Visits of people whom nobody knows."""
    yield data.VISIT
    for number in range(count):
        yield f"{data.facility(number)},Nobody,Known{number},3,cough,,,,V-{number},2026-01-01T08:00:00Z\n"


def parked(place: Bench) -> dict[str, object]:
    """What 10,000 rows that wait, and go on waiting, add to a run."""
    pipeline = place.warehouse("bench_parked")
    drop(pipeline, "facilities.csv", data.write(WORK / "facilities.csv", data.facilities()))
    drop(pipeline, "patients.csv", data.write(WORK / "patients-100000.csv", data.patients(100_000)))
    ingested(pipeline, "base")
    empty = [promotion(place, pipeline, f"empty {turn}") for turn in range(RUNS)]
    drop(pipeline, "triage_visits.csv", data.write(WORK / "strangers.csv", strangers(10_000)))
    ingested(pipeline, "strangers")
    waiting = [promotion(place, pipeline, f"waiting {turn}") for turn in range(RUNS)]
    return {"rows": 10_000, "adds s": statistics.median(waiting) - statistics.median(empty)}


def main() -> None:
    """Measure and report."""
    rows = scaled(1_000_000)
    with bench() as place:
        report("promote", first_and_again(place, rows))
        report("parked", [parked(place)])
        report("delta", [delta(place, rows), delta(place, 10 * rows)])


if __name__ == "__main__":
    main()
