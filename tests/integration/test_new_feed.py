"""A new feed is a contract, a migration and a promotion statement: nothing else in `elt/` has to change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from elt import bucket
from elt.settings import REPOSITORY

pytestmark = pytest.mark.integration

CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: medilink-ambulances
name: ambulances
version: 1.0.0
status: active
schema:
- name: ambulances
  customProperties:
  - {property: deliveredKey, value: [plate]}
  - {property: attributes, value: [seats]}
  properties:
  - {name: facility_name, logicalType: string, required: true}
  - {name: plate, logicalType: string, required: true, customProperties: [{property: normalise, value: upper}]}
  - {name: seats, logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 9}}
customProperties:
- {property: promotionOrder, value: 6}
- {property: rejectLimitRate, value: 0.1}
- {property: rejectLimitRows, value: 50}
"""

PROMOTION = """\
select
    file_id,
    row_number,
    md5(lower(plate))::uuid as key,
    case
        when facility.candidates = 0 then 'missing_facility'
        when facility.candidates > 1 then 'ambiguous_facility'
    end as code,
    'facility_name' as code_column,
    facility.candidates::integer as candidates,
    facility.id as facility_id,
    plate,
    seats::integer as seats
from unresolved as delivered
cross join lateral (
    select min(id) as id, count(*) as candidates
    from public.facilities where lower(name) = lower(delivered.facility_name)
) as facility
"""

MIGRATION = '''\
from alembic import op

revision = "ambulances"
down_revision = "{head}"


def upgrade():
    op.get_bind().connection.cursor().execute("""
        create table public.ambulances (
            id bigint generated always as identity primary key,
            facility_id bigint not null references public.facilities,
            plate text not null,
            seats integer,
            _key uuid not null generated always as (md5(lower(plate))::uuid) stored,
            created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
            source text not null default 'drop', _overridden jsonb,
            _first_file_id bigint, _first_row bigint, _first_batch_id bigint,
            _last_file_id bigint, _last_row bigint, _last_batch_id bigint, _delivered_hash uuid
        );
        create table staging.ambulances (
            facility_name text, plate text, seats text,
            _batch_id bigint not null, _file_id bigint not null, _row_number bigint not null,
            _reject_code text, _reject_text text, _extra jsonb, _quarantine_id text
        );
        grant select, insert, update, delete on staging.ambulances to loader;
        grant select, insert, update on public.ambulances to loader;
    """)
'''

# What an operator does; `elt` is the copy with the new feed.
NIGHTS = """
import sys
from pathlib import Path
from elt import database, quarantine
from elt.contract import FEEDS
from elt.pipeline import Pipeline
from elt.settings import Settings
from elt.verify import verify

settings = Settings()
database.migrate(settings)
pipeline = Pipeline.of(settings)
prefix = settings.s3_input_prefix
header = "facility_name,plate,seats\\n"


def night(name, content):
    pipeline.s3.put_object(Bucket=settings.s3_bucket_name, Key=prefix + name, Body=content.encode())
    batch = pipeline.begin(name)
    pipeline.extract(batch)
    for feed in FEEDS:
        pipeline.load(batch, feed)
    pipeline.promote(batch)
    pipeline.end(batch)


assert FEEDS[-1] == "ambulances", FEEDS
night("ambulances.csv", header + "Ikeja Hospital,abc-1,4\\nIkeja Hospital,abc-2,many\\n")
night("facilities.csv", "name,state\\nIkeja Hospital,Lagos\\n")
night("ambulances-2.csv", header + "Ikeja Hospital,ABC-1,5\\n")
with pipeline.connect("loader") as connection:
    path = Path(sys.argv[1])
    quarantine.export(connection, quarantine.Filter("ambulances"), path, "csv")
night("ambulances-corrected.csv", path.read_text(encoding="utf-8-sig").replace("many", "6"))
with pipeline.connect("loader") as connection:
    print(connection.execute("select plate, seats, facility_id from ambulances order by id").fetchall())
    print(connection.execute("select error_code, closed_reason from quarantine.entries order by 1").fetchall())
    print(verify(connection, pipeline.s3, settings, hash_bytes=True))
"""


def test_a_contract_a_migration_and_a_promotion_statement_are_a_feed(settings, s3_endpoint, tmp_path):
    settings = settings.model_copy(update={"aws_endpoint_url": s3_endpoint})
    bucket.ensure_bucket(bucket.client(settings), settings)
    project = tmp_path / "project"
    shutil.copytree(REPOSITORY / "elt", project / "elt", ignore=shutil.ignore_patterns("__pycache__"))
    newest = max(path.stem.partition("_")[0] for path in (project / "elt/migrations/versions").glob("[0-9]*.py"))
    (project / "elt/contracts/ambulances.odcs.yaml").write_text(CONTRACT, encoding="utf-8")
    (project / "elt/promotion/ambulances.sql").write_text(PROMOTION, encoding="utf-8")
    (project / "elt/migrations/versions/9999_ambulances.py").write_text(MIGRATION.format(head=newest), encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-c", NIGHTS, str(tmp_path / "ambulances.csv")],
        env=os.environ | {
            "PYTHONPATH": str(project), "MEDILINK_ENV_FILE": "none", "POSTGRES_PORT": str(settings.postgres_port),
            "POSTGRES_DB": settings.postgres_db, "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
            "S3_BUCKET_NAME": settings.s3_bucket_name, "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "MEDILINK_HOME": str(tmp_path / "home"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [
        "[('ABC-1', 5, 1), ('ABC-2', 6, 1)]",
        "[('invalid_type', 'corrected'), ('missing_facility', 'resolved')]",
        "[]",
    ]
