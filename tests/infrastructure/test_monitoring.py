"""Monitoring: metrics are those that rules ask for, rules fire when they should, and somebody hears of silence."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from typer.testing import CliRunner

from elt import database
from elt.cli import app
from elt.cli import monitoring as commands
from elt.metrics import COUNTERS, GAUGES, exposition, serve
from elt.settings import Settings
from local.postgres import free_port
from monitoring import dashboards
from tests.conftest import Warehouse
from tests.infrastructure.conftest import REPOSITORY

RULES = REPOSITORY / "monitoring" / "prometheus"
ALERTS = [
    rule for group in yaml.safe_load((RULES / "alerts.yaml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
QUERIES = [panel.query for _, panels in dashboards.DASHBOARDS.values() for panel in panels]
# What backend/ exposes; docs/operations.md is where both sides agree.
OF_THE_API = {"medilink_api_request_seconds", "medilink_api_requests"}
OF_THE_PIPELINE = {"medilink_ledger_up", *(name for name, *_ in (*GAUGES, *COUNTERS))}


def family(name: str) -> str:
    return re.sub(r"_(total|bucket|count|sum)$", "", name)


class TestRules:
    def test_prometheus_takes_configuration_and_rules(self, prometheus: Path) -> None:
        promtool = prometheus / "promtool"
        for arguments in (
            ["check", "config", "--syntax-only", "prometheus.yaml"],
            ["test", "rules", "alerts.test.yaml"],
        ):
            checked = subprocess.run([promtool, *arguments], cwd=RULES, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_the_tests_of_rules_can_fail(self, prometheus: Path, tmp_path: Path) -> None:
        text = (RULES / "alerts.yaml").read_text(encoding="utf-8")
        (tmp_path / "alerts.yaml").write_text(text.replace("26 * 3600", "260 * 3600"), encoding="utf-8")
        (tmp_path / "alerts.test.yaml").write_text((RULES / "alerts.test.yaml").read_text("utf-8"), encoding="utf-8")
        checked = subprocess.run(
            [prometheus / "promtool", "test", "rules", "alerts.test.yaml"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 1

    def test_alertmanager_takes_its_configuration(self, prometheus: Path) -> None:
        if not (prometheus / "amtool").exists():
            pytest.skip("ALERTMANAGER NOT TESTED: no amtool. Install it: apt-get install prometheus-alertmanager")
        checked = subprocess.run(
            [prometheus / "amtool", "check-config", REPOSITORY / "monitoring" / "alertmanager.yaml"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_every_alert_is_tested_silent_and_heard(self) -> None:
        tests = yaml.safe_load((RULES / "alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
        asked = [case for test in tests for case in test["alert_rule_test"]]
        names = {alert["alert"] for alert in ALERTS}
        assert {case["alertname"] for case in asked if not case["exp_alerts"]} == names
        assert {case["alertname"] for case in asked if case["exp_alerts"]} == names

    def test_every_alert_has_its_entry_in_the_runbook(self) -> None:
        runbook = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
        for alert in ALERTS:
            assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
            assert f"\n### {alert['alert']}\n" in runbook
        on_aws = (REPOSITORY / "terraform/modules/monitoring/main.tf").read_text(encoding="utf-8")
        for name in {*re.findall(r"^    (Medilink\w+) = \{", on_aws, flags=re.MULTILINE), "MedilinkDatabaseFull"}:
            assert name in on_aws
            assert f"\n### {name}\n" in runbook, name

    def test_rules_and_dashboards_ask_for_metrics_that_exist(self) -> None:
        asked = {
            family(name)
            for query in [*(alert["expr"] for alert in ALERTS), *QUERIES]
            for name in re.findall(r"\bmedilink_\w+", query)
        }
        assert asked <= OF_THE_PIPELINE | OF_THE_API
        told = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
        assert [name for name in OF_THE_PIPELINE | OF_THE_API if f"`{name}" not in told] == []


class TestDashboards:
    @pytest.mark.parametrize("name", dashboards.DASHBOARDS)
    def test_are_what_the_code_says(self, name: str) -> None:
        committed = (dashboards.FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert committed == dashboards.render(name), "write them anew: python -m monitoring.dashboards"

    def test_every_query_is_promql(self, prometheus: Path, tmp_path: Path) -> None:
        """Prometheus itself reads each."""
        (tmp_path / "prometheus.yaml").write_text("{}", encoding="utf-8")
        port = free_port()
        storage = [f"--storage.tsdb.path={tmp_path / 'data'}", f"--config.file={tmp_path / 'prometheus.yaml'}"]
        server = subprocess.Popen(
            [prometheus / "prometheus", *storage, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/-/ready")
            for query in QUERIES:
                asked = urllib.request.urlopen(f"{address}/api/v1/format_query?query={urllib.parse.quote(query)}")
                assert json.load(asked)["status"] == "success"
        finally:
            server.kill()
            server.wait(timeout=10)


def _wait_for(address: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{address} does not answer")


class TestMetrics:
    def test_tell_what_the_ledger_says_and_no_value_of_a_row(self, warehouse: Warehouse) -> None:
        warehouse.drop("facilities.csv", "name,state\nCanary Clinic,Lagos\n,Lagos\n")
        warehouse.drop("unknown.csv", "a,b\n")
        warehouse.ingest()
        text = exposition(lambda: warehouse.connect("loader"))
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
        }
        assert found["medilink_ledger_up",] == 1
        assert found["medilink_files", "facilities", "promoted"] == 1
        assert found["medilink_files", "none", "rejected"] == 1
        assert found["medilink_rows_total", "inserted", "facilities"] == 1
        assert found["medilink_rows_total", "failed", "facilities"] == 1
        assert found["medilink_quarantine_open_rows", "failed", "facilities"] == 1
        assert found["medilink_runs_total", "succeeded"] == 1
        assert found["medilink_last_run_succeeded",] == 1
        assert found["medilink_last_run_step_duration_seconds", "extract"] > 0
        assert not any(name == "medilink_last_published_timestamp_seconds" for name, *_ in found)
        assert "Canary" not in text

    def test_say_so_when_the_ledger_does_not_answer(self, settings: Settings) -> None:
        nobody = settings.model_copy(update={"postgres_port": free_port()})
        server, thread = serve(lambda: database.connect(nobody, "loader"), "127.0.0.1", port := free_port())
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert "medilink_ledger_up 0.0" in answer
        assert "medilink_files" not in answer

    def test_change_nothing(self, settings: Settings) -> None:
        """What reads the metrics cannot write, though its log-in could."""

        connections: list[psycopg.Connection] = []

        def connect() -> psycopg.Connection:
            connections.append(database.connect(settings, "loader"))
            return connections[-1]

        exposition(connect)
        assert connections[0].read_only is True


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict]]]:
    """Somebody who hears: the address, and what was heard."""
    heard: list[dict] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/T0KEN", heard
    server.shutdown()
    server.server_close()
    thread.join()


class TestTheWatchdog:
    def ask(self, monkeypatch: pytest.MonkeyPatch, settings: Settings, webhook: str) -> tuple[int, str]:
        told = settings.model_copy(update={"watchdog_webhook_url": SecretStr(webhook)})
        monkeypatch.setattr(commands, "Settings", lambda: told)
        answer = CliRunner().invoke(app, ["watchdog"])
        return answer.exit_code, answer.output

    def test_complains_until_a_run_is_published_and_again_after_26_hours(
        self,
        monkeypatch: pytest.MonkeyPatch,
        settings: Settings,
        admin: psycopg.Connection,
        webhook: tuple[str, list[dict]],
    ) -> None:
        address, heard = webhook
        assert self.ask(monkeypatch, settings, address)[0] == 1
        assert heard.pop()["text"].startswith("Medilink: No run was ever published.")

        admin.execute(
            "insert into audit.batches (run_key, state, completed_at, lease_expires_at)"
            " values ('night', 'succeeded', now(), now()), ('next', 'failed', now(), now())"
        )
        admin.execute("insert into audit.releases (batch_id) select min(batch_id) from audit.batches")
        assert self.ask(monkeypatch, settings, address) == (0, "A run was published lately.\n")
        assert heard == []

        admin.execute("update audit.releases set published_at = now() - interval '27 hours'")
        code, printed = self.ask(monkeypatch, settings, address)
        assert code == 1
        assert "No run was published for 27 hours" in printed
        assert "1 runs failed since yesterday" in printed
        assert heard.pop()["text"] == f"Medilink: {printed.strip()}"

    def test_complains_when_the_ledger_cannot_be_asked(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings, webhook: tuple[str, list[dict]]
    ) -> None:
        address, heard = webhook
        nobody = settings.model_copy(update={"postgres_port": free_port()})
        assert self.ask(monkeypatch, nobody, address)[0] == 2
        assert "The ledger cannot be asked" in heard.pop()["text"]

    def test_shows_no_token_when_nobody_listens(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        code, printed = self.ask(monkeypatch, settings, f"http://127.0.0.1:{free_port()}/T0KEN")
        assert code == 1
        assert "WATCHDOG_WEBHOOK_URL was not told: URLError" in printed
        assert "T0KEN" not in printed
