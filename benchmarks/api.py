"""The API against PostgreSQL itself: `python -m benchmarks.api`.

The API runs as start.sh runs it (granian, authentication, row-level security, access log, rate limits), over 1 M
patients of 1,000 facilities; pgbench sends the same statements over 16 connections to the same server, which keeps its
promises (fsync on). Rounds are interleaved, medians are reported.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from backend.tokens import Tokens
from elt.database import initialise, migrate
from elt.publish import bind_to_facilities
from elt.settings import REPOSITORY, Settings
from elt.vocabulary import Role
from local import api, postgres
from local.environment import LocalSettings

RUNS = int(os.environ.get("BENCHMARK_RUNS", "5"))
PATIENTS = int(1_000_000 * float(os.environ.get("BENCHMARK_SCALE", "1")))
FACILITIES = 1_000
CONNECTIONS = 16
SECONDS = float(os.environ.get("BENCHMARK_SECONDS", "5"))
RESULTS = Path(__file__).parent / "results"

FILL = f"""
insert into public.facilities (name, state, source)
    select 'Facility ' || n, 'STATE ' || n % 37, 'api' from generate_series(1, {FACILITIES}) n;
insert into public.patients (facility_id, first_name, last_name, sex, dob, phone, source)
    select 1 + (n * 7919) % {FACILITIES}, 'First' || n % 7000, 'Last' || n % 9000,
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
    values ('bench', 'admin', 'none', 'yesterday');
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


class Client:
    """One kept-alive HTTP connection that costs the machine as little as it can."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        """The answer to a GET, headers and body; raises unless its status is 200."""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        )
        answer = self.socket.recv(262_144)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        while len(body) < length:
            body += self.socket.recv(262_144)
        if b" 200 " not in head[:20]:
            raise RuntimeError(f"{path}: {head[:40]!r} {body[:300]!r}")
        return head + b"\r\n\r\n" + body


@contextmanager
def stack() -> Iterator[tuple[postgres.Server, Settings, str]]:
    """A PostgreSQL that syncs, filled, and the API as start.sh runs it; with a token."""
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
        variables = {
            "POSTGRES_PORT": str(server.port),
            "API_POSTGRES_PASSWORD": "a",
            "API_SIGNING_KEYS": settings.api_signing_keys.get_secret_value(),
            "API_RATE_LIMIT": settings.api_rate_limit,
            "MEDILINK_HOME": folder,
            "MEDILINK_ENV_FILE": str(home / "none"),
            "PYTHONPATH": str(REPOSITORY),
            "PATH": os.environ["PATH"],
        }
        process = subprocess.Popen(
            api.service(settings).command,
            env=variables,
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            token = Tokens(settings).issue("bench", Role.ADMIN, [])
            _wait(settings.api_port, token)
            yield server, settings, token
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _wait(port: int, token: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            Client(port, token).get("/health")
        except (OSError, TypeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def throughput(port: int, token: str, path: Callable[[int], str]) -> float:
    """Answers per second over all connections."""
    counts = [0] * CONNECTIONS
    end = time.monotonic() + SECONDS

    def work(number: int) -> None:
        client = Client(port, token)
        while time.monotonic() < end:
            client.get(path(number * 7 + counts[number]))
            counts[number] += 1

    _at_once(work)
    return sum(counts) / SECONDS


def pgbench(server: postgres.Server, script: str) -> float:
    """Transactions per second of the same statement, prepared, over as many connections."""
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
    client = Client(port, token)
    seconds: list[list[float]] = [[] for _ in paths]
    for _ in range(rounds):
        for number, path in enumerate(paths):
            started = time.perf_counter()
            client.get(path)
            seconds[number].append(time.perf_counter() - started)
    return [1000 * statistics.median(times) for times in seconds]


def p95(port: int, token: str, path: Callable[[int], str], rate: int) -> float:
    """95th percentile in milliseconds at a fixed rate, counted from when each request was due."""
    found: list[float] = []
    start = time.monotonic() + 0.1
    total = int(rate * SECONDS)

    def work(number: int) -> None:
        client = Client(port, token)
        for request in range(number, total, CONNECTIONS):
            due = start + request / rate
            time.sleep(max(0.0, due - time.monotonic()))
            client.get(path(request))
            found.append(time.monotonic() - due)

    _at_once(work)
    return 1000 * statistics.quantiles(found, n=20)[18]


def _at_once(work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def main() -> None:
    """Measure, print a table, write results/api.json."""
    rows: list[dict[str, object]] = []
    with stack() as (server, settings, token):
        port = settings.api_port

        def filtered(number: int) -> str:
            return f"/api/patients?facility_id={1 + number % FACILITIES}&sex=F&limit=50"

        for name, path, script, bar in (
            ("list of 50 patients, filtered", filtered, LIST, 0.30),
            ("facility-stats, 1,000 rows", lambda _: "/api/analytics/facility-stats", STATS, 0.60),
        ):
            rounds = [(throughput(port, token, path), pgbench(server, script)) for _ in range(RUNS)]
            ours, theirs = (statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(one / other for one, other in rounds)
            rows.append({"what": name, "api": ours, "pgbench": theirs, "ratio": ratio, "bar": f"≥ {bar}"})
        paged = [latencies(port, token, _pages(), 100) for _ in range(RUNS)]
        first, thousandth, last, offset = (statistics.median(each) for each in zip(*paged, strict=True))
        rows += [
            {
                "what": "page 1000 by keyset, ms",
                "api": thousandth,
                "ratio": thousandth / first,
                "bar": "≤ 1.2 × page 1",
            },
            {"what": "page 9000 by keyset, ms", "api": last, "ratio": last / first, "bar": "≤ 1.2 × page 1"},
            {"what": "page 9000 by number, ms", "api": offset, "ratio": offset / first, "bar": ""},
        ]
        late = statistics.median(p95(port, token, filtered, 100) for _ in range(RUNS))
        rows.append({"what": "p95 at 100 requests/s, ms", "api": late, "bar": "< 50"})
        with server.connect("postgres", "medilink") as admin:
            logged = admin.execute("select count(*) from audit.access_log").fetchone()
    console = Console()
    table = Table("what", "API", "pgbench", "ratio", "bar")
    for row in rows:
        table.add_row(*(_shown(row.get(name)) for name in ("what", "api", "pgbench", "ratio", "bar")))
    console.print(table)
    console.print(f"{logged[0] if logged else 0:,} accesses logged; {PATIENTS:,} patients; {sys.version.split()[0]}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "api.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _pages() -> list[str]:
    """Page 1, 1000 and 9000 by keyset, page 9000 by number, scaled to how many patients there are."""
    scale = PATIENTS / 1_000_000
    cursors = [0, int(999 * 50 * scale), int(8999 * 50 * scale)]
    return [
        *(f"/api/patients?after={cursor}&limit=50" for cursor in cursors),
        f"/api/patients?page={int(9000 * scale)}&per_page=50",
    ]


def _shown(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value or "")


if __name__ == "__main__":
    main()
