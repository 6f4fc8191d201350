"""The API for ten minutes, while one night after another runs: `python -m benchmarks.soak`.

50 requests a second of every kind, of callers with all rights and of callers bound to facilities, over 16 connections;
each night takes new drops. Ends with an error if any answer was a 5xx, any two answers of one release differed, a
release came after a newer one, or the API's memory grew.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import SecretStr

from backend.tokens import Tokens
from benchmarks.measure import Bench, bench, drop, report
from benchmarks.served import CONNECTIONS, Client, at_once, served
from elt import sample_data
from elt.pipeline import Pipeline
from elt.vocabulary import Role
from local import postgres
from local.environment import LocalSettings

RATE = 50
SECONDS = float(os.environ.get("BENCHMARK_SECONDS", "600"))
PATIENTS = 5_000
FACILITIES = 20
# Memory counts from when everything has been asked for a few times.
WARM_SECONDS = min(60.0, SECONDS / 4)
GROWTH_MB = 20

MARTS = ("facility-stats", "facility-performance?limit=100", "triage-trends?limit=100", "condition-analysis?limit=100")
CLIENTS = """
insert into audit.api_clients (client_id, role, facility_ids, secret_hash, rotated_at) values
    ('soak', 'admin', '{}', 'none', 'yesterday'), ('ward', 'clinician', '{1,2,3}', 'none', 'yesterday'),
    ('board', 'viewer', '{}', 'none', 'yesterday')
"""


@dataclass
class Seen:
    """What the answers were."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    releases: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    memory: list[tuple[float, float]] = field(default_factory=list)
    nights: int = 0

    def check_release(self, who: str, path: str, body: bytes, newest: str) -> str:
        """Hold an analytics answer against others of its release; returns the release."""
        as_of: str = json.loads(body)["as_of"]
        if self.releases.setdefault((who, path, as_of), body) != body:
            self.failures.append(f"mixed: {path} of {as_of}")
        if as_of < newest:
            self.failures.append(f"older than before: {path} of {as_of}")
        return max(as_of, newest)


def requests(chance: random.Random) -> Iterator[tuple[str, str, str, str]]:
    """Caller, method, path and body, without end."""
    while True:
        who = chance.choice(["soak", "soak", "ward"])
        patient, facility = chance.randint(1, PATIENTS), chance.randint(1, FACILITIES)
        visit = {"patient_id": patient, "triage_level": chance.randint(1, 5), "visit_id": str(uuid.uuid4())}
        yield chance.choices(
            [
                (who, "GET", f"/api/patients?facility_id={facility}&sex=F&limit=50", ""),
                (who, "GET", f"/api/patients/{patient}", ""),
                (who, "GET", f"/api/medical-records?patient_id={patient}", ""),
                (who, "GET", f"/api/triage-visits?facility_id={facility}&count=true", ""),
                (chance.choice(["soak", "board", "ward"]), "GET", f"/api/analytics/{chance.choice(MARTS)}", ""),
                (who, "GET", f"/api/analytics/patient-summary?facility_id={facility}", ""),
                ("soak", "POST", "/api/triage-visits", json.dumps(visit)),
                ("soak", "PATCH", f"/api/patients/{patient}", json.dumps({"phone": f"0819{patient:07d}"})),
                ("soak", "GET", "/api/pipeline/files", ""),
                ("soak", "GET", "/api/quarantine", ""),
                (who, "GET", "/api/patients?per_page=0", ""),
                ("nobody", "GET", "/api/patients", ""),
            ],
            [20, 10, 8, 8, 24, 8, 5, 5, 3, 3, 3, 3],
        )[0]


def nights(pipeline: Pipeline, folder: Path, seen: Seen, ended: threading.Event) -> None:
    """One night after another, each with drops of its own."""
    while not ended.is_set():
        try:
            for path in sample_data.generate(
                folder / str(seen.nights), PATIENTS // 10, seed=seen.nights + 2, dirty=True
            ):
                drop(pipeline, f"{path.stem}-{seen.nights}{path.suffix}", path)
            pipeline.run(f"soak-{seen.nights}")
            seen.nights += 1
        except Exception as error:  # noqa: BLE001 - told at the end
            seen.failures.append(f"night {seen.nights}: {type(error).__name__}: {error}")
            return


def soak(port: int, tokens: dict[str, str], process: psutil.Process, seen: Seen) -> None:
    """Ask for SECONDS at RATE, each request when it is due."""
    start = time.monotonic() + 0.1
    lock = threading.Lock()

    def work(number: int) -> None:
        client, newest = Client(port), dict.fromkeys(tokens, "")
        asked = requests(random.Random(number))  # noqa: S311 - made up, and the same each time
        for count in range(number, int(RATE * SECONDS), CONNECTIONS):
            due = start + count / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            who, method, path, body = next(asked)
            status, answer = client.send(method, path, tokens[who], body)
            with lock:
                seen.statuses[status] += 1
                seen.seconds.append(time.monotonic() - due)
                if status >= 500:
                    seen.failures.append(f"{method} {path.partition('?')[0]}: {status} {json.loads(answer)['type']}")
                if status == 200 and path.startswith(tuple(f"/api/analytics/{mart}" for mart in MARTS)):
                    newest[who] = seen.check_release(who, path, answer, newest[who])
                if count % (RATE * 5) == 0:
                    resident = sum(part.memory_info().rss for part in (process, *process.children(recursive=True)))
                    seen.memory.append((time.monotonic() - start, resident / 2**20))

    at_once(work)


def measure(bench: Bench, home: Path) -> Seen:
    """A first night, then the soak with nights behind it."""
    pipeline = bench.warehouse("soak")
    pipeline = Pipeline.of(
        pipeline.settings.model_copy(
            update={"medilink_home": home, "research_pseudonym_key": SecretStr(secrets.token_urlsafe(32))}
        )
    )
    for path in sample_data.generate(home / "first", PATIENTS, seed=1):
        drop(pipeline, path.name, path)
    pipeline.run("soak-first")
    with bench.admin("soak") as admin:
        admin.execute(CLIENTS)
    settings = LocalSettings(
        _env_file=None,
        postgres_port=bench.server.port,
        postgres_db="soak",
        api_postgres_password=pipeline.settings.api_postgres_password,
        api_port=postgres.free_port(),
        api_signing_keys=SecretStr(secrets.token_urlsafe(32)),
        api_rate_limit="1000/second",
        medilink_home=home,
    )
    signer = Tokens(settings)
    tokens = {
        "soak": signer.issue("soak", Role.ADMIN, []),
        "ward": signer.issue("ward", Role.CLINICIAN, [1, 2, 3]),
        "board": signer.issue("board", Role.VIEWER, []),
        "nobody": "none",
    }
    seen, ended = Seen(), threading.Event()
    night = threading.Thread(target=nights, args=(pipeline, home / "drops", seen, ended))
    with served(settings) as process:
        night.start()
        try:
            soak(settings.api_port, tokens, process, seen)
        finally:
            ended.set()
            night.join()
    return seen


def main() -> None:
    """Soak, print a table, write results/soak.json. Raises SystemExit where the API did not hold."""
    with tempfile.TemporaryDirectory(prefix="medilink-soak-") as folder, bench() as parts:
        seen = measure(parts, Path(folder))
    warm = [megabytes for at, megabytes in seen.memory if at >= WARM_SECONDS]
    third = max(1, len(warm) // 3)
    before, after = statistics.median(warm[:third]), statistics.median(warm[-third:])
    if after - before > GROWTH_MB:
        seen.failures.append(f"memory: {before:.0f} MB, then {after:.0f} MB")
    centiles = statistics.quantiles(seen.seconds, n=100)
    report(
        "soak",
        [
            {"what": "requests", "value": len(seen.seconds)},
            {"what": "by status", "value": ", ".join(f"{status}: {n}" for status, n in sorted(seen.statuses.items()))},
            {"what": "nights meanwhile", "value": seen.nights},
            {"what": "releases seen", "value": len({as_of for _, _, as_of in seen.releases})},
            {"what": "5xx, mixed or older releases, failed nights", "value": len(seen.failures)},
            {"what": "median ms", "value": 1000 * centiles[49]},
            {"what": "p95 ms", "value": 1000 * centiles[94]},
            {"what": "p99 ms", "value": 1000 * centiles[98]},
            {"what": "memory of the API, first third, MB", "value": before},
            {"what": "memory of the API, last third, MB", "value": after},
        ],
    )
    if seen.failures:
        sys.exit("\n".join(f"{n} × {failure}" for failure, n in Counter(seen.failures).most_common(20)))


if __name__ == "__main__":
    main()
