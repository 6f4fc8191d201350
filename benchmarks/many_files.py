"""`many_files`: a run over ten thousand small files: what each costs in time and requests, and the memory."""

from __future__ import annotations

import resource
from collections import Counter

from botocore.awsrequest import AWSPreparedRequest

from benchmarks import data
from benchmarks.measure import Bench, bench, report, scaled
from elt.archive_files import archive_files
from elt.contract import FEEDS
from elt.pipeline import Pipeline


def main() -> None:
    """Measure and report."""
    count = scaled(10_000)
    with bench() as place:
        pipeline = place.warehouse("bench_many")

        def put(name: str, lines: str) -> None:
            key = pipeline.settings.s3_input_prefix + name
            pipeline.s3.put_object(Bucket=pipeline.settings.s3_bucket_name, Key=key, Body=lines.encode())

        put("facilities.csv", "".join(data.facilities()))
        for number in range(count - 1):
            put(f"patients-{number}.csv", "".join(data.patients(5, first=5 * number)))
        requests: Counter[str] = Counter()

        def count_request(request: AWSPreparedRequest, **_: object) -> None:
            requests["list" if "list-type" in request.url else request.method] += 1

        # Each request that goes over the wire, those that are tried again too.
        pipeline.s3.meta.events.register("before-send.s3", count_request)
        batch_id = pipeline.begin("many files")
        steps = {
            "extract": lambda: pipeline.extract(batch_id),
            "load": lambda: [pipeline.load(batch_id, feed) for feed in FEEDS],
            "promote": lambda: pipeline.promote(batch_id),
            "archive": lambda: archive(place, pipeline, batch_id),
        }
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results: list[dict[str, object]] = []
        for name, work in steps.items():
            cost = place.cost(work)
            results.append({"step": name, "files": count, "ms a file": cost.wall / count * 1000, **added(before)})
        total = sum(float(str(row["ms a file"])) for row in results)
        results.append({"step": "all", "files": count, "ms a file": total, **added(before)})
        report("many_files", results)
        listings = requests.pop("list")
        report(
            "many_files_requests",
            [{"files": count, "listings": listings, "other requests a file": requests.total() / count}],
        )


def added(before: int) -> dict[str, object]:
    """Memory that this process took since, at its peak."""
    return {"memory added MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def archive(place: Bench, pipeline: Pipeline, batch_id: int) -> None:
    """The last step, without the marts between."""
    with place.admin(pipeline.settings.postgres_db) as admin:
        admin.execute("update audit.ingest_files set status = 'published' where status = 'promoted'")
    with pipeline.connect("loader") as connection:
        archive_files(pipeline.s3, connection, pipeline.settings, batch_id)


if __name__ == "__main__":
    main()
