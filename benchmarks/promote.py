"""`promote`, `redrop`, `delta`: first load of patients and visits, the same file again, and a small file on a large base."""

from __future__ import annotations

import statistics

from psycopg import Connection

from benchmarks import data
from benchmarks.measure import RUNS, WORK, Bench, Cost, bench, drop, ingested, report, scaled, staged
from elt.pipeline import Pipeline

PATIENT = "facility_id, first_name, last_name, sex, dob, phone"
VISIT = "patient_id, facility_id, triage_level, chief_complaint, vital_signs, conditions, recommendations, visit_id"


def bare_insert(admin: Connection, feed: str, columns: str, values: str) -> None:
    """A typed insert of the staged rows into the empty table itself, with its keys and indexes; undone afterwards."""
    if feed != "patients":
        columns, values = f"{columns}, _key", f"{values}, gen_random_uuid()"
    provenance = "_delivered_hash, " + ", ".join(
        f"_{which}_{what}" for which in ("first", "last") for what in ("file_id", "row", "batch_id")
    )
    admin.execute(
        f"insert into public.{feed} ({columns}, {provenance}) select {values}, md5(_row_number::text)::uuid,"
        f" _file_id, _row_number, _batch_id, _file_id, _row_number, _batch_id from staging.{feed}"
    )


def promotion(place: Bench, pipeline: Pipeline, key: str) -> Cost:
    batch_id = staged(pipeline, key)
    cost = place.cost(lambda: pipeline.promote(batch_id))
    pipeline.end(batch_id)
    return cost


def first_load(place: Bench, pipeline: Pipeline, feed: str, columns: str, values: str) -> tuple[Cost, Cost]:
    """The bare insert, then the promotion, of the same staged rows."""
    batch_id = staged(pipeline, f"{feed} first")
    with place.admin(pipeline.settings.postgres_db) as admin:
        bare = place.cost(lambda: bare_insert(admin, feed, columns, values))
        admin.execute(f"truncate public.{feed} restart identity cascade")
    first = place.cost(lambda: pipeline.promote(batch_id))
    pipeline.end(batch_id)
    return bare, first


def middle(costs: list[Cost]) -> float:
    return statistics.median(cost.wall for cost in costs)


def main() -> None:
    rows = scaled(1_000_000)
    facilities = data.write(WORK / "facilities.csv", data.facilities())
    patients = data.write(WORK / f"patients-{rows}.csv", data.patients(rows))
    visits = data.write(WORK / f"visits-clean-{rows}-{rows}.csv", data.visits(rows, rows, dirty=False))
    changed = {name: path.with_suffix(".changed") for name, path in (("patients", patients), ("triage_visits", visits))}
    for name, path in (("patients", patients), ("triage_visits", visits)):
        # One byte: a blank line more would be none of the rows; the last digit of the first phone, or day, is.
        if not changed[name].exists():
            changed[name].write_bytes(path.read_bytes().replace(b"0819", b"0818", 1).replace(b"V-0,", b"V-x,", 1))
    feeds = {
        "patients": (patients, PATIENT, "1 + split_part(facility_name, ' ', 2)::int, first_name, last_name, sex, dob::date, phone"),
        "triage_visits": (
            visits, VISIT,
            "1, 1, triage_level::smallint, chief_complaint, vital_signs, string_to_array(conditions, '; '),"
            " string_to_array(recommendations, '; '), visit_id",
        ),
    }  # fmt: skip
    costs: dict[str, dict[str, list[Cost]]] = {
        feed: {what: [] for what in ("bare", "first", "same bytes", "one byte")} for feed in feeds
    }
    with bench() as place:
        for turn in range(RUNS):
            pipeline = place.warehouse(f"bench_promote_{turn}")
            drop(pipeline, "facilities.csv", facilities)
            ingested(pipeline, "facilities")
            for feed, (path, columns, casts) in feeds.items():
                taken = costs[feed]
                drop(pipeline, f"{feed}.csv", path)
                bare, first = first_load(place, pipeline, feed, columns, casts)
                taken["bare"].append(bare)
                taken["first"].append(first)
                drop(pipeline, f"{feed}.csv", path)
                taken["same bytes"].append(promotion(place, pipeline, f"{feed} same"))
                drop(pipeline, f"{feed}.csv", changed[feed])
                taken["one byte"].append(promotion(place, pipeline, f"{feed} changed"))
    results: list[dict[str, object]] = []
    for feed, taken in costs.items():
        plain, whole = middle(taken["bare"]), middle(taken["first"])
        results.append(
            {
                "feed": feed, "rows": rows, "bare s": plain, "first s": whole, "first / bare": whole / plain,
                "same bytes / first": middle(taken["same bytes"]) / whole,
                "one byte / first": middle(taken["one byte"]) / whole,
            }
        )  # fmt: skip
    report("promote", results)


if __name__ == "__main__":
    main()
