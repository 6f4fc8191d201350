"""`build`: the whole `dbt build` with its tests, against the final selects alone as `create table as` in psql.

Both over 1 M patients, 1 M medical records and 1 M triage visits, both four at a time, each select after those it
reads.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.rows import dict_row
from pydantic import SecretStr

from benchmarks.measure import Bench, bench, report, scaled
from elt.pipeline import Pipeline

DATABASE = "bench_build"
PSEUDONYM_KEY = "benchmark-key-of-the-research-pseudonyms"
# dbt's own number (dbt/profiles.yml).
THREADS = 4

# 1,000 facilities of all levels of care; names, births, diagnoses and conditions as unequal as they are in life: a few
# conditions are common, most are rare; events lie within 800 days, a third of the patients have none.
ROWS = """
set session_replication_role = replica;
insert into public.facilities (name, state, lga, lat, lon, type, source)
select
    'Facility ' || i,
    (array['LAGOS', 'KANO', 'RIVERS', 'FCT', 'OYO', 'KADUNA', 'ENUGU', 'BORNO', 'EDO', 'PLATEAU'])[1 + i % 10],
    'Lga ' || i % 77, 4.5 + i % 90 / 10.0, 3 + i % 110 / 10.0,
    (array['Teaching Hospital', 'General Hospital', 'Primary Health Centre', 'Clinic', 'Health Post'])[1 + i % 5],
    'api'
from generate_series(1, 1000) as i;
insert into public.patients (facility_id, first_name, last_name, sex, dob, phone, source)
select
    1 + i % 1000, 'Adé' || i % 997, 'Òjó' || i / 997, (array['M', 'F'])[1 + i / 1000 % 2],
    date '1930-01-01' + (i * 7919::bigint % 35000)::integer, '0803' || lpad((i % 10000000)::text, 7, '0'), 'api'
from generate_series(1, :rows) as i;
insert into public.medical_records (patient_id, facility_id, record_type, data, record_id, recorded_at, source)
select
    1 + i * 7919::bigint % (:rows * 2 / 3), 1 + i % 1000,
    (array['Diagnosis', 'Treatment', 'Lab result', 'Prescription'])[1 + i % 4],
    jsonb_build_object(
        'diagnosis', 'Diagnosis ' || floor(200 * power(hashint4(i) / 4294967296.0 + 0.5, 4)),
        'treatment', 'rest, fluids and review after three days', 'medications', 'Paracetamol 500 mg',
        'notes', md5(i::text)
    ),
    'R-' || i, now() - i % 800 * interval '1 day' - i % 1440 * interval '1 minute', 'api'
from generate_series(1, :rows) as i;
insert into public.triage_visits (
    patient_id, facility_id, triage_level, chief_complaint, vital_signs, conditions, recommendations, visit_id,
    visited_at, source
)
select
    1 + i * 104729::bigint % (:rows * 2 / 3), 1 + i % 1000, 1 + i % 5, 'chest pain since monday',
    'BP: 120/80; HR: ' || 60 + i % 60 || '; RR: 18; T: 37.2; SpO2: 97',
    array[
        'Condition ' || floor(300 * power(hashint4(i) / 4294967296.0 + 0.5, 4)),
        'Condition ' || floor(300 * power(hashint4(-i) / 4294967296.0 + 0.5, 4))
    ],
    array['Admit', 'Observe'], 'V-' || i, now() - i % 800 * interval '1 day' - i % 1440 * interval '1 minute', 'api'
from generate_series(1, :rows) as i;
set session_replication_role = origin;
"""


def seed(place: Bench, rows: int, database: str = DATABASE) -> None:
    """Fill the production tables without their foreign keys being asked, which takes a minute for a million of each."""
    with place.admin(database) as admin:
        admin.execute(ROWS.replace(":rows", str(rows)).encode())
        admin.execute("vacuum analyze")


def build(pipeline: Pipeline, run_key: str) -> None:
    """The build as the night does it, into `analytics_next`; nothing is published."""
    batch_id = pipeline.begin(run_key)
    pipeline.build(batch_id)
    pipeline.end(batch_id)


def selects(target: Path) -> dict[str, tuple[str, set[str]]]:
    """The compiled select of each model, and the models it reads, from what dbt left in its target folder."""
    nodes = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["nodes"].values()
    return {
        node["name"]: (
            (target / "compiled" / "medilink" / node["original_file_path"]).read_text(encoding="utf-8"),
            {parent.rpartition(".")[2] for parent in node["depends_on"]["nodes"] if parent.startswith("model.")},
        )
        for node in nodes
        if node["resource_type"] == "model"
    }


def plain(place: Bench, target: Path) -> None:
    """Every model's select as a table (staging: a view) without keys, comments, tests; four psql at a time."""
    with place.admin(DATABASE) as admin:
        admin.execute("drop schema if exists plain cascade")
        admin.execute("create schema plain")
    models = selects(target)
    order = TopologicalSorter({name: parents for name, (_, parents) in models.items()})
    order.prepare()
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        while order.is_active():
            running |= {pool.submit(create, place, name, models[name][0]): name for name in order.get_ready()}
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                done.result()
                order.done(running.pop(done))


def create(place: Bench, name: str, select: str) -> None:
    """One model in the schema `plain`, reading what stands there."""
    for schema in ("analytics_next", "research_next", "dbt_staging"):
        select = select.replace(f'"{schema}"', '"plain"')
    psql(place, f"create {'view' if name.startswith('stg_') else 'table'} plain.{name} as {select}")


def psql(place: Bench, statement: str) -> None:
    """Run it in a psql of its own, with the settings that dbt's sessions have."""
    subprocess.run(
        [
            str(place.server.binaries / "psql"), "-qX", "-h", "127.0.0.1", "-p", str(place.server.port),
            "-U", "postgres", "-d", DATABASE, "-v", "ON_ERROR_STOP=1", "-f", "-",
        ],
        input=statement,
        text=True,
        check=True,
        env={
            "PGPASSWORD": "postgres",
            "PGTZ": "UTC",
            "PGOPTIONS": f"-c medilink.pseudonym_key={PSEUDONYM_KEY.encode().hex()}",
        },
    )  # fmt: skip


def nodes(place: Bench) -> list[dict[str, object]]:
    """Seconds and rows of each node of the newest build, the slowest first."""
    with place.admin(DATABASE) as admin, admin.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select
                resource_type || ' ' || split_part(node_id, '.', 3) as node, layer, seconds::float,
                coalesce(rows_affected, 0) as rows
            from audit.dbt_results
            where batch_id = (select max(batch_id) from audit.dbt_results)
                and (resource_type = 'model' or seconds >= 0.5)
            order by seconds desc
            """
        ).fetchall()


def main() -> None:
    """Measure, and report: seconds of each model and of the slower tests, then the whole against plain SQL."""
    rows = scaled(1_000_000)
    runs = count()
    with bench() as place, TemporaryDirectory() as home:
        settings = place.warehouse(DATABASE).settings.model_copy(
            update={"medilink_home": Path(home), "research_pseudonym_key": SecretStr(PSEUDONYM_KEY)}
        )
        pipeline = Pipeline.of(settings)
        seed(place, rows)
        own, peer = place.interleaved(
            lambda: build(pipeline, f"build {next(runs)}"), lambda: plain(place, Path(home) / "dbt")
        )
        report("build-nodes", nodes(place))
        report(
            "build",
            [
                {
                    "rows": rows, "psql s": peer.wall, "dbt build s": own.wall, "wall ratio": own.wall / peer.wall,
                    "CPU ratio": own.cpu / peer.cpu,
                }
            ],
        )  # fmt: skip


if __name__ == "__main__":
    main()
