"""The API against PostgreSQL itself: `python -m benchmarks.api`.

The API runs as start.sh runs it (granian, authentication, row-level security, access log, rate limits), over 1 M
patients of 1,000 facilities; pgbench sends the same statements over 16 connections to the same server, which keeps its
promises (fsync on). Rounds are interleaved, medians are reported.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pydantic import SecretStr

from backend.analytics.routes import KEPT_ANSWERS
from backend.tokens import Tokens
from benchmarks.measure import RUNS, report
from benchmarks.served import CONNECTIONS, Client, Refused, at_once, served
from elt.database import initialise, migrate
from elt.publish import bind_to_facilities
from elt.vocabulary import Role
from local import postgres
from local.environment import LocalSettings

PATIENTS = int(1_000_000 * float(os.environ.get("BENCHMARK_SCALE", "1")))
FACILITIES = 1_000
SECONDS = float(os.environ.get("BENCHMARK_SECONDS", "5"))

FILL = f"""
insert into public.facilities (name, state, source)
    select 'Facility ' || n, 'STATE ' || n % 37, 'api' from generate_series(1, {FACILITIES}) n;
insert into public.patients (facility_id, first_name, last_name, sex, dob, phone, source)
    select 1 + (n * 7919) % {FACILITIES}, 'First' || n % 7013, 'Last' || n % 9000,
        (array['F', 'M'])[1 + (n / 1000) % 2],
        date '1940-01-01' + (n % 30000)::integer, '+23480' || n, 'api'
    from generate_series(1, {PATIENTS}::bigint) n;
create table analytics.dim_facilities (
    facility_id bigint primary key, facility_name text, state text, patient_count bigint, record_count bigint,
    visit_count bigint, avg_triage_level numeric
);
alter table analytics.dim_facilities owner to transformer;
insert into analytics.dim_facilities
    select id, name, state, 1000 + id, 2000 + id, 900 + id, 3.25 from public.facilities;
grant select on analytics.dim_facilities to api_read;
insert into audit.batches (run_key, state, completed_at, lease_expires_at) values ('x', 'succeeded', now(), now());
insert into audit.releases (batch_id) select batch_id from audit.batches;
comment on schema analytics is 'release 1';
insert into audit.api_clients (client_id, role, secret_hash, rotated_at)
    values ('bench', 'admin', 'none', 'yesterday'), ('bound', 'clinician', 'none', 'yesterday');
vacuum analyze;
"""

# What the API asks for these addresses, without its own bookkeeping.
LIST = """
select coalesce(json_agg(row_to_json(entity)), '[]')::text from (
    select id, facility_id, first_name, last_name, sex, dob, phone, created_at, updated_at from public.patients
    where facility_id = :facility and sex = 'F' order by id limit 51
) as entity;
"""
STATS = """
select json_build_object('total_facilities', count(*), 'total_patients', sum(patient_count), 'total_records',
    sum(record_count), 'facilities', json_agg(json_build_object('facility_id', facility_id, 'facility_name',
    facility_name, 'state', state, 'patient_count', patient_count, 'record_count', record_count, 'avg_triage_level',
    avg_triage_level) order by facility_id))::text from analytics.dim_facilities;
"""


@contextmanager
def stack() -> Iterator[tuple[postgres.Server, LocalSettings]]:
    """A PostgreSQL that syncs, filled, and the API as start.sh runs it."""
    with tempfile.TemporaryDirectory(prefix="medilink-bench-") as folder, postgres.throwaway(careless=False) as server:
        home = Path(folder)
        settings = LocalSettings(
            _env_file=None,
            postgres_port=server.port,
            postgres_password=SecretStr("p"),
            api_postgres_password=SecretStr("a"),
            api_port=postgres.free_port(),
            api_signing_keys=SecretStr(secrets.token_urlsafe(32)),
            api_rate_limit="1000000/second",
            medilink_home=home,
        )
        with server.connect("postgres") as admin:
            admin.execute("create database medilink")
        with server.connect("postgres", "medilink") as admin:
            initialise(admin, settings)
        migrate(settings)
        with server.connect("postgres", "medilink") as admin:
            for statement in FILL.split(";\n"):
                if statement.strip():
                    admin.execute(statement.encode())
            bind_to_facilities(admin, "analytics")
        with served(settings):
            yield server, settings


Request = Callable[[int], tuple[str, str]]
"""The path and the token of a request, by its number."""


def throughput(port: int, request: Request) -> float:
    """Answers per second over all connections; one thread for all, as the client is part of what the machine does."""
    count = 0
    end = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as waiting, ExitStack() as connections:
        for number in range(CONNECTIONS):
            client = connections.enter_context(closing(Client(port)))
            client.ask("GET", *request(number * 7))
            waiting.register(client.socket, selectors.EVENT_READ, client)
        while time.monotonic() < end:
            for key, _ in waiting.select():
                status, body = key.data.answer()
                if status != 200:
                    raise Refused(f"{status} {body[:300]!r}")
                count += 1
                key.data.ask("GET", *request(count * 7))
    return count / SECONDS


def pgbench(server: postgres.Server, script: str) -> float:
    """Transactions per second of the same statement over as many connections, planned each time, as pgbench does."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(f"\\set facility random(1, {FACILITIES})\n{' '.join(script.split())}\n")
        file.flush()
        answer = subprocess.run(
            [
                *(str(server.binaries / "pgbench"), "-n", "-M", "simple", "-f", file.name, "-T", str(int(SECONDS))),
                *("-c", str(CONNECTIONS), "-j", "2", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"),
                "medilink",
            ],
            env={"PGPASSWORD": "postgres", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
    return float(re.search(r"tps = ([0-9.]+)", answer.stdout)[1])  # type: ignore[index]


def latencies(port: int, token: str, paths: list[str], rounds: int) -> list[float]:
    """Median milliseconds of each path, asked in turn over one connection."""
    client = Client(port)
    seconds: list[list[float]] = [[] for _ in paths]
    for _ in range(rounds):
        for number, path in enumerate(paths):
            started = time.perf_counter()
            client.get(path, token)
            seconds[number].append(time.perf_counter() - started)
    return [1000 * statistics.median(times) for times in seconds]


def p95(port: int, request: Request, rate: int) -> float:
    """95th percentile in milliseconds at a fixed rate, counted from when each request was due."""
    found: list[float] = []
    start = time.monotonic() + 0.1
    total = int(rate * SECONDS)

    def work(number: int) -> None:
        client = Client(port)
        for count in range(number, total, CONNECTIONS):
            due = start + count / rate
            time.sleep(max(0.0, due - time.monotonic()))
            client.get(*request(count))
            found.append(time.monotonic() - due)

    at_once(work)
    return 1000 * statistics.quantiles(found, n=20)[18]


def main() -> None:
    """Measure, print a table, write results/api.json."""
    rows: list[dict[str, object]] = []

    def row(what: str, value: float, against: float, ratio: float, bar: str) -> None:
        rows.append({"what": what, "API": value, "against": against, "ratio": ratio, "bar": bar})

    with stack() as (server, settings):
        port, signer = settings.api_port, Tokens(settings)
        token = signer.issue("bench", Role.ADMIN, [])
        # A facility less each: answers that are kept for nobody, of all rows but one, with row-level security.
        bound = [
            signer.issue("bound", Role.CLINICIAN, [n for n in range(1, FACILITIES + 1) if n != left_out])
            for left_out in range(1, KEPT_ANSWERS + 17)
        ]
        stats = "/api/analytics/facility-stats"

        def filtered(number: int) -> tuple[str, str]:
            return f"/api/patients?facility_id={1 + number % FACILITIES}&sex=F&limit=50", token

        for name, request, script, bar in (
            ("list of 50 patients, filtered, answers/s", filtered, LIST, "≥ 0.30"),
            ("facility-stats, 1,000 rows, answers/s", lambda n: (stats, bound[n % len(bound)]), STATS, "≥ 0.60"),
            ("the same, kept per release, answers/s", lambda _: (stats, token), STATS, "≥ 0.60"),
        ):
            rounds = [(throughput(port, request), pgbench(server, script)) for _ in range(RUNS)]
            ours, theirs = (statistics.median(each) for each in zip(*rounds, strict=True))
            row(name, ours, theirs, statistics.median(one / other for one, other in rounds), bar)
        paged = [latencies(port, token, _pages(), 100) for _ in range(RUNS)]
        first, thousandth, last, offset = (statistics.median(each) for each in zip(*paged, strict=True))
        row("page 1000 by keyset, ms, against page 1", thousandth, first, thousandth / first, "≤ 1.2")
        row("page 9000 by keyset, ms, against page 1", last, first, last / first, "≤ 1.2")
        row("page 9000 by number, ms, against page 1", offset, first, offset / first, "")
        late = statistics.median(p95(port, filtered, 100) for _ in range(RUNS))
        row("p95 at 100 requests/s, ms, against 50", late, 50.0, late / 50, "< 1")
    report("api", rows)


def _pages() -> list[str]:
    """Page 1, 1000 and 9000 by keyset, page 9000 by number, scaled to how many patients there are."""
    scale = PATIENTS / 1_000_000
    cursors = [0, int(999 * 50 * scale), int(8999 * 50 * scale)]
    return [
        *(f"/api/patients?after={cursor}&limit=50" for cursor in cursors),
        f"/api/patients?page={int(9000 * scale)}&per_page=50",
    ]


if __name__ == "__main__":
    main()
