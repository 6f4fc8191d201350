"""`many_files`: a run over ten thousand small files: what each costs in time and requests, and the memory.

The overhead is what is left of the time when that of waiting for the S3 endpoint's answers is taken away.
"""

from __future__ import annotations

import resource
import time
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
        clock = {"sent": 0.0, "waited": 0.0}

        def sent(request: AWSPreparedRequest, **_: object) -> None:
            requests["list" if "list-type" in request.url else request.method] += 1
            clock["sent"] = time.perf_counter()

        def answered(**_: object) -> None:
            clock["waited"] += time.perf_counter() - clock["sent"]

        # Each request that goes over the wire, those that are tried again too.
        pipeline.s3.meta.events.register("before-send.s3", sent)
        pipeline.s3.meta.events.register("response-received.s3", answered)
        batch_id = pipeline.begin("many files")
        steps = {
            "extract": lambda: pipeline.extract(batch_id),
            "load": lambda: [pipeline.load(batch_id, feed) for feed in FEEDS],
            "promote": lambda: pipeline.promote(batch_id),
            "archive": lambda: archive(place, pipeline, batch_id),
        }
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results: list[dict[str, object]] = []
        whole = 0.0
        for name, work in steps.items():
            waited = clock["waited"]
            seconds = place.cost(work).wall
            whole += seconds
            results.append(row(name, count, seconds, clock["waited"] - waited, before))
        report("many_files", [*results, row("all", count, whole, clock["waited"], before)])
        listings = requests.pop("list")
        report(
            "many_files_requests",
            [{"files": count, "listings": listings, "other requests a file": requests.total() / count}],
        )


def row(step: str, files: int, seconds: float, waited: float, before: int) -> dict[str, object]:
    """A row of the table; `before` is the memory that the process had, in KB."""
    return {
        "step": step,
        "files": files,
        "ms a file": seconds / files * 1000,
        "of these waiting for S3": waited / files * 1000,
        "overhead": (seconds - waited) / files * 1000,
        "memory added MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def archive(place: Bench, pipeline: Pipeline, batch_id: int) -> None:
    """The last step, without the marts between."""
    with place.admin(pipeline.settings.postgres_db) as admin:
        admin.execute("update audit.ingest_files set status = 'published' where status = 'promoted'")
    with pipeline.connect("loader") as connection:
        archive_files(pipeline.s3, connection, pipeline.settings, batch_id)


if __name__ == "__main__":
    main()
