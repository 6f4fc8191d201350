"""`many-files`: a run over very many small files: time and S3 calls a file, and memory."""

from __future__ import annotations

import resource
from collections import Counter
from typing import Any

from benchmarks import data
from benchmarks.measure import bench, report, scaled
from elt.archive_files import archive_files
from elt.contract import FEEDS


def main() -> None:
    count = scaled(10_000)
    with bench() as place:
        pipeline = place.warehouse("bench_many")
        for number in range(count):
            body = "".join(data.patients(5, first=5 * number)).encode()
            key = f"{pipeline.settings.s3_input_prefix}patients-{number}.csv"
            pipeline.s3.put_object(Bucket=pipeline.settings.s3_bucket_name, Key=key, Body=body)
        key = f"{pipeline.settings.s3_input_prefix}facilities.csv"
        pipeline.s3.put_object(
            Bucket=pipeline.settings.s3_bucket_name, Key=key, Body="".join(data.facilities()).encode()
        )
        calls: Counter[str] = Counter()

        def count_call(model: Any, **_: object) -> None:
            calls[model.name] += 1

        pipeline.s3.meta.events.register("before-call.s3", count_call)
        batch_id = pipeline.begin("many files")
        steps = {
            "extract": lambda: pipeline.extract(batch_id),
            "load": lambda: [pipeline.load(batch_id, feed) for feed in FEEDS],
            "promote": lambda: pipeline.promote(batch_id),
            "archive": lambda: _archive(place, pipeline, batch_id),
        }
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results: list[dict[str, object]] = []
        for name, work in steps.items():
            calls.clear()
            cost = place.cost(work)
            results.append(
                {
                    "step": name,
                    "files": count,
                    "ms a file": cost.wall / count * 1000,
                    "S3 calls a file": sum(n for call, n in calls.items() if not call.startswith("List")) / count,
                    "memory added MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
                }
            )
        report("many-files", results)


def _archive(place: Any, pipeline: Any, batch_id: int) -> None:
    with place.admin(pipeline.settings.postgres_db) as admin:
        admin.execute("update audit.ingest_files set status = 'published' where status = 'promoted'")
    with pipeline.connect("loader") as connection:
        archive_files(pipeline.s3, connection, pipeline.settings, batch_id)


if __name__ == "__main__":
    main()
