"""Faults of Airflow itself, over the real DAG: its processes killed, two tries of one task, nobody to report to.

One Airflow (for each worker of pytest) serves all tests of this file, as `./start.sh` starts it, but for a quick double
of dbt. Who restarts what a test kills (Compose, or the next `./start.sh`) is the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from elt.audit import LEASE_SECONDS, RENEWAL_SECONDS
from elt.contract import MEDILINK_FEEDS
from local import airflow, postgres, web
from local.environment import GENERATED, LocalSettings
from local.supervisor import Child, Supervisor, end, members
from tests.conftest import Warehouse, _settings
from tests.faults.conftest import Made
from tests.faults.harness import Night
from tests.faults.servers import Database

pytestmark = pytest.mark.integration

WAREHOUSE = "faults_airflow"
PROMOTION, ARCHIVING = "generate_ids_and_transform", "archive_files"
# What a step needs when it has done a part of its work, and no other after the first.
NEEDED = {PROMOTION: "audit.etl_audit_log", ARCHIVING: "audit.manifests"}
# No wait of these takes that long, on the busiest machine.
LIMIT_SECONDS = 300


def wait_until(condition: Callable[[], bool], what: str) -> float:
    """Wait for something; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < LIMIT_SECONDS, what
        time.sleep(0.1)
    return time.monotonic() - began


@dataclass
class Airflow:
    """The four processes of Airflow, and the newest run of the night in them."""

    settings: LocalSettings
    supervisor: Supervisor
    services: dict[str, airflow.Service]
    run_id: str = ""
    killed: list[Child] = field(default_factory=list)

    def start(self, *names: str) -> None:
        """Start components, and wait until each has given a sign of life."""
        since = datetime.now(UTC)
        for name in names:
            self.supervisor.start(self.services[name])
        wait_until(lambda: airflow.healthy_components(self.settings, since) >= set(names), f"{names} are healthy")

    def kill(self, name: str) -> None:
        """End one component at once, and nothing that it started."""
        child, process, _ = self.supervisor.started[name]
        process.kill()
        process.wait()
        self.killed.append(child)

    def stop(self) -> None:
        """End everything, also what those that were killed had started."""
        children = [*self.killed, *(child for child, _, _ in self.supervisor.started.values())]
        end(members(children, self.supervisor.home), grace=5)
        for _, process, _ in self.supervisor.started.values():
            process.wait()

    @property
    def client(self) -> airflow.Client:
        return airflow.Client(self.settings, airflow.NIGHT)

    def begin(self) -> None:
        """Start a run."""
        self.run_id = self.client.trigger(MEDILINK_FEEDS)

    def process(self, step: str) -> psutil.Process:
        """The process that does a step; its parent, a worker of the executor, watches over it."""
        client = self.client
        answer = web.call(f"{client.dag}/dagRuns/{self.run_id}/taskInstances/{step}", token=client.token)
        return psutil.Process(answer["pid"])

    def repeat(self, step: str) -> None:
        """As an operator does who thinks that it hangs: mark it failed, and clear it."""
        client = self.client
        task = f"{client.dag}/dagRuns/{self.run_id}/taskInstances/{step}"
        web.call(task, method="PATCH", body={"new_state": "failed"}, token=client.token)
        wait_until(lambda: client.run_state(self.run_id) == "failed", "the run has failed")
        wanted = {"dry_run": False, "only_failed": False, "include_downstream": True}
        body = wanted | {"dag_run_id": self.run_id, "task_ids": [step]}
        web.call(f"{client.dag}/clearTaskInstances", body=body, token=client.token)

    def ends_well(self) -> None:
        """Wait for the end of the run."""
        client = self.client
        wait_until(lambda: client.run_state(self.run_id) in airflow.ENDED, "the run ends")
        tasks = client.tasks(self.run_id)
        reasons = {task.name: client.reason(self.run_id, task) for task in tasks if task.state != "success"}
        assert reasons == {}
        assert client.run_state(self.run_id) == "success"


@pytest.fixture(scope="module")
def processes(
    database_server: Database, s3_endpoint: str, quick_dbt: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    server, home = database_server.server, tmp_path_factory.mktemp("airflow")
    wanted = _settings(server, WAREHOUSE, s3_endpoint, home).model_copy(update={"dbt_executable": quick_dbt})
    secrets = {name.lower(): make() for name, make in GENERATED.items() if name.startswith("AIRFLOW")}
    ports = {"airflow_port": postgres.free_port(), "s3_port": urlsplit(s3_endpoint).port}
    settings = LocalSettings(_env_file=None, **wanted.model_dump() | secrets | ports)
    password = settings.airflow_db_password.get_secret_value()
    with server.connect("postgres") as admin:
        postgres.ensure_owner(admin, "airflow", password, airflow.DATABASE)
    airflow.prepare(settings)
    # Runs begin when a test says so, whatever the hour.
    variables = Night(Warehouse.of(wanted), home).environment | {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
    services = {
        service.name: replace(service, environment={**service.environment, **variables})
        for service in (airflow.migration(settings), *airflow.services(settings))
    }
    supervisor = Supervisor(home)
    processes = Airflow(settings, supervisor, services)
    try:
        supervisor.start(services["airflow-migration"])
        wait_until(lambda: supervisor.finished("airflow-migration"), "Airflow has its tables")
        since = datetime.now(UTC)
        processes.start(*airflow.COMPONENTS)
        wait_until(lambda: processes.client.is_parsed(since), "Airflow has read the DAG")
        yield processes
    finally:
        processes.stop()


@pytest.fixture
def night(make_night: Made) -> Night:
    """A fresh warehouse under the name that Airflow knows."""
    return make_night(name=WAREHOUSE)


@contextmanager
def standing(processes: Airflow, night: Night, admin: psycopg.Connection, step: str) -> Iterator[None]:
    """A run stands in the middle of this step until this ends."""
    processes.begin()
    wait_until(lambda: tries(night, "extract") == [(1, "succeeded")], "files are claimed")
    with admin.transaction():
        admin.execute(f"lock table {NEEDED[step]} in access exclusive mode")
        wait_until_they_wait(admin, 1)
        yield


def wait_until_they_wait(admin: psycopg.Connection, sessions: int) -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"

    def they_wait() -> bool:
        # Within a transaction it would be told the same again and again.
        admin.execute("select pg_stat_clear_snapshot()")
        return admin.execute(query).fetchall() == [(sessions,)]

    wait_until(they_wait, f"{sessions} sessions stand still")


def tries(night: Night, step: str) -> list[tuple]:
    """How the tries of a step ended."""
    return night.warehouse.ask(f"select attempt, state from audit.batch_steps where step = '{step}' order by attempt")


@pytest.mark.faults
@pytest.mark.parametrize("whom", ["the task", "its worker"])
def test_a_killed_task_is_tried_again_within_its_lease(whom, processes, night, admin, undisturbed):
    with standing(processes, night, admin, PROMOTION):
        process = processes.process(PROMOTION)
        (process if whom == "the task" else process.parent()).kill()
    seconds = wait_until(lambda: len(tries(night, PROMOTION)) == 2, "Airflow tries again")
    assert seconds < LEASE_SECONDS - RENEWAL_SECONDS
    processes.ends_well()
    assert night.tables() == undisturbed.tables


def test_of_two_tries_of_one_task_one_does_nothing(processes, night, admin, undisturbed):
    """Nobody is left to stop the first try when an operator lets Airflow try again."""
    with standing(processes, night, admin, PROMOTION):
        first = processes.process(PROMOTION)
        watcher = first.parent()
        watcher.suspend()
        processes.repeat(PROMOTION)
        wait_until_they_wait(admin, 2)
        assert first.is_running()
    wait_until(lambda: {state for _, state in tries(night, PROMOTION)} == {"succeeded"}, "both tries end")
    watcher.resume()
    processes.ends_well()
    assert len(tries(night, PROMOTION)) == 2
    assert night.tables() == undisturbed.tables


@pytest.mark.faults
def test_a_killed_scheduler_costs_time_only(processes, night, admin, undisturbed):
    with standing(processes, night, admin, PROMOTION):
        processes.kill("airflow-scheduler")
        processes.start("airflow-scheduler")
        # It takes the task for lost, and starts it again.
        wait_until(lambda: len(tries(night, PROMOTION)) == 2, "Airflow tries again")
    processes.ends_well()
    assert night.tables() == undisturbed.tables


@pytest.mark.faults
@pytest.mark.parametrize("step", [PROMOTION, ARCHIVING])
def test_a_task_that_ends_while_nobody_listens(step, processes, night, admin, undisturbed):
    """It is done, and cannot say so: Airflow may try it again, and the run ends well."""
    with standing(processes, night, admin, step):
        processes.kill("airflow-api-server")
    wait_until(lambda: tries(night, step) == [(1, "succeeded")], "the step is done")
    time.sleep(5)
    processes.start("airflow-api-server")
    processes.ends_well()
    assert night.tables() == undisturbed.tables
    assert night.warehouse.ask("select state from audit.batches") == [("succeeded",)]
