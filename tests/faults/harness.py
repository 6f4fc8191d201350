"""What the tests of this folder do to a night, and how they see that nothing came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from elt import bucket, sample_data
from elt.settings import REPOSITORY
from tests.conftest import Warehouse

# Long enough for a busy machine, short enough to be waited for.
LEASE_SECONDS = 4
PATIENCE_SECONDS = 60
# No night of this drop takes that long: one that does hangs.
LIMIT_SECONDS = 120

WHERE_FROM = "first_file.sha256, rows._first_row, last_file.sha256, rows._last_row"
FILES = """
    left join audit.ingest_files as first_file on first_file.file_id = rows._first_file_id
    left join audit.ingest_files as last_file on last_file.file_id = rows._last_file_id
"""
EVENT = f"""
    facility.name, facility.state, facility.lga, patient.first_name, patient.last_name, patient.dob,
    rows.times_delivered, rows.resolved_by, rows.source, {WHERE_FROM}
"""
WHOM = f"""
    inner join public.patients as patient on patient.id = rows.patient_id
    inner join public.facilities as facility on facility.id = rows.facility_id
    {FILES}
"""
# Every table, ids and times aside: what refers to another row names it, provenance by the bytes it came from.
ENTERED = {
    "facilities": f"""
        select name, state, lga, lat, lon, type, source, {WHERE_FROM} from public.facilities as rows {FILES}
    """,
    "patients": f"""
        select facility.name, facility.state, facility.lga, first_name, last_name, sex, dob, phone, resolved_by,
            rows.source, {WHERE_FROM}
        from public.patients as rows
        inner join public.facilities as facility on facility.id = rows.facility_id
        {FILES}
    """,
    "medical_records": f"""
        select record_type, data, record_id, recorded_at, {EVENT} from public.medical_records as rows {WHOM}
    """,
    "triage_visits": f"""
        select triage_level, chief_complaint, vital_signs, vitals, conditions, recommendations, visit_id, visited_at,
            {EVENT}
        from public.triage_visits as rows {WHOM}
    """,
    "quarantine": """
        select entries.feed, entries.disposition, row_hash, sha256, row_number, entries.error_code, error_column,
            errors, candidates, delivered, delivered_text, closed_reason
        from quarantine.entries inner join audit.ingest_files using (file_id)
    """,
    "sightings": """
        select sha256, row_number, disposition from quarantine.sightings inner join audit.ingest_files using (file_id)
    """,
    "ledger": """
        select input_key, etag, feed, status, sha256, size_bytes, error_code, error_message, warning, records_processed,
            records_inserted, records_updated, records_unchanged, records_duplicate, records_parked, records_failed,
            input_released_at is null
        from audit.ingest_files
    """,
    "audit log": """
        select table_name, origin, sum(records_processed), sum(records_inserted), sum(records_updated),
            sum(records_unchanged), sum(records_duplicate), sum(records_parked), sum(records_failed)
        from audit.etl_audit_log group by 1, 2
    """,
    "open batches": "select 1 from audit.batches where state = 'running'",
    "schemas": "select nspname from pg_namespace where nspname ~ '^(analytics|research)'",
}
# What the quick double of dbt makes of it.
TABLES = ENTERED | {
    "dim_facilities": "select name, state from analytics.dim_facilities",
    "dim_patients": "select sex from analytics.dim_patients",
    "facility_performance": """
        select name, state, lga, visits from analytics.facility_performance
        inner join public.facilities on id = facility_id
    """,
    "research_visits": "select triage_level, visits from research.research_visits",
}


@dataclass
class Night:
    """A warehouse with a drop in its input, and nights that run over it in processes of their own."""

    warehouse: Warehouse
    folder: Path
    proxied: dict[str, str] = field(default_factory=dict)
    """Settings by which the processes reach PostgreSQL or S3 through a proxy."""
    preload: dict[str, str] = field(default_factory=dict)

    @property
    def marker(self) -> Path:
        """There while a night stands still."""
        return self.folder / "standing"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to know to work on this warehouse."""
        settings = self.warehouse.settings
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "MEDILINK_ENV_FILE": os.devnull,
            "MEDILINK_HOME": str(settings.medilink_home),
            "POSTGRES_PORT": str(settings.postgres_port),
            "POSTGRES_DB": settings.postgres_db,
            "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
            "RESEARCH_PSEUDONYM_KEY": settings.research_pseudonym_key.get_secret_value(),
            "S3_BUCKET_NAME": settings.s3_bucket_name,
            "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        return environment | ({"DBT_EXECUTABLE": settings.dbt_executable} if settings.dbt_executable else {})

    def start(
        self,
        run_key: str | None = None,
        point: str | None = None,
        when: str | None = None,
        action: str = "kill",
        *,
        lease: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        s3_timeout: float = 0,
        log: str = "log",
    ) -> subprocess.Popen[bytes]:
        """Start a night; with a point, it is killed or stands still there."""
        wanted = {
            "point": point, "when": when, "action": action, "marker": str(self.marker), "lease": lease,
            "patience": patience, "s3_timeout": s3_timeout,
        }  # fmt: skip
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.faults.night", run_key or f"night-{uuid.uuid4()}"],
                env=self.environment | {"NIGHT": json.dumps(wanted)} | self.proxied | self.preload,
                cwd=REPOSITORY,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, process: subprocess.Popen[bytes], seconds: float = LIMIT_SECONDS) -> int:
        """How the process ended; one that does not is a finding, and is killed."""
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"it hangs: {self.told()}") from None

    def wait_until_it_stands(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the night has come to its point."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self.marker.exists():
            assert process.poll() is None, self.told()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def go_on(self) -> None:
        """Let a night that stands still go on."""
        self.marker.unlink()

    def told(self, log: str = "log") -> str:
        """What the nights said."""
        return (self.folder / log).read_text(encoding="utf-8")

    def finish(
        self, run_key: str | None = None, *, lease: float = LEASE_SECONDS, limit: float = LIMIT_SECONDS
    ) -> float:
        """A night without a fault, to its end; returns its seconds."""
        self.proxied, self.preload = {}, {}
        began = time.monotonic()
        process = self.start(run_key, lease=lease, patience=max(PATIENCE_SECONDS, 2 * lease))
        assert self.wait(process, limit) == 0, self.told()
        return time.monotonic() - began

    def marts(self) -> dict[str, str]:
        """A hash of each mart that readers see, ids and all."""
        found = self.warehouse.ask(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('analytics', 'research')"
        )
        return self.tables({name: f"select * from {name}" for (name,) in found})

    def tables(self, wanted: dict[str, str] | None = None) -> dict[str, str]:
        """A hash of each table, ids and times aside."""
        with self.warehouse.connect("medilink_owner") as connection:
            connection.execute("set role none")
            return {
                name: connection.execute(
                    "select coalesce(md5(string_agg(line, chr(10) order by line)), '') from"
                    f" (select md5(row(each.*)::text) as line from ({query}) as each) as lines".encode()
                ).fetchall()[0][0]
                for name, query in (wanted or TABLES).items()
            }


def empty(warehouse: Warehouse) -> None:
    """Leave no object in the bucket, nor any version of one: a test before may have used its name."""
    name = warehouse.settings.s3_bucket_name
    for page in warehouse.s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            warehouse.s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])


def drop_everything(warehouse: Warehouse, folder: Path) -> None:
    """The same drop for all nights: sound rows, waiting rows, one of each defect that a row may have."""
    if not folder.exists():
        sample_data.generate(folder, patients=40, seed=5, dirty=True, today=date(2026, 1, 31))
        for path in folder.iterdir():
            if path.name not in {"facilities.csv", "patients.csv", "medical_records.csv", "triage_visits.csv"}:
                path.unlink()
        (folder / "patients-again.csv").write_bytes((folder / "patients.csv").read_bytes())
        (folder / "triage_visits-cut.csv").write_text("chief_complaint\ncough\n", encoding="utf-8")
    bucket.upload_drops(warehouse.s3, warehouse.settings, folder)
