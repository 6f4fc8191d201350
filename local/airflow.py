"""The embedded Airflow: four supervised processes over a database of their own, and a small client of its REST API."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from elt.database import KEEPALIVES, PIPELINE_OPTIONS
from elt.settings import REPOSITORY, Settings
from local import web
from local.environment import LOOPBACK, LocalSettings, children_environment
from local.supervisor import Service, StartFailed

NIGHT = "medilink_etl_pipeline"
DAGS = (NIGHT, "bed_occupancy_pipeline")
DATABASE = "airflow"
# --skip-serve-logs: their log servers would listen on every address.
COMPONENTS = {
    "airflow-api-server": ["api-server", "--workers", "1"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
    "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
}
COMMAND = [sys.executable, "-P", "-m", "airflow"]
ENDED = {"success", "failed"}


def folder(settings: LocalSettings) -> Path:
    """AIRFLOW_HOME."""
    return settings.medilink_home / "airflow"


def address(settings: LocalSettings) -> str:
    """Where the web pages and the REST API are."""
    return f"http://{LOOPBACK}:{settings.airflow_port}"


def prepare(settings: LocalSettings) -> None:
    """Make AIRFLOW_HOME, and the file from which the log-in page takes the password of `admin`."""
    home = folder(settings)
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({"admin": settings.airflow_admin_password.get_secret_value()}), encoding="utf-8")


def environment(settings: LocalSettings) -> dict[str, str]:
    """Airflow's configuration, and everything the tasks need, as environment variables."""
    home = folder(settings)
    base = address(settings)
    password = urllib.parse.quote(settings.airflow_db_password.get_secret_value(), safe="")
    database = f"postgresql+psycopg2://airflow:{password}@{LOOPBACK}:{settings.postgres_port}/{DATABASE}"
    options = {
        "CORE__DAGS_FOLDER": REPOSITORY / "airflow" / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__EXECUTOR": "LocalExecutor",
        # A task at a time for each core; every worker and every task holds some 150 MB.
        "CORE__PARALLELISM": min(4, max(2, os.cpu_count() or 2)),
        "CORE__FERNET_KEY": settings.airflow_fernet_key.get_secret_value(),
        "CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
        # The default asks the resolver, which takes seconds on a machine without a network.
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "API__HOST": LOOPBACK,
        "API__PORT": settings.airflow_port,
        "API__BASE_URL": base,
        "API__SECRET_KEY": settings.airflow_secret_key.get_secret_value(),
        "API_AUTH__JWT_SECRET": settings.airflow_jwt_secret.get_secret_value(),
        # The next task starts about 0.2 s after the last one ended, not 1 s.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
        # A worker that misses the end of its task notices it at the next heartbeat (5 s by default), and takes no other
        # task meanwhile. A server that does not answer is still forgiven for 15 s.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        "WORKERS__MAX_FAILED_HEARTBEATS": 15,
        # After a kill the tasks of the dead scheduler start again within half a minute, not five.
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 20,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
        # After the kill of a worker, of which nobody tells the scheduler: in time for a retry within the batch's lease.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
        "DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": home / "logs" / "dag_processor",
        "LOGGING__COLORED_CONSOLE_LOG": False,
        "LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
    }
    return children_environment(settings) | {
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": str(value) for name, value in options.items()},
        "AIRFLOW_CONN_MEDILINK_POSTGRES": json.dumps(warehouse_connection(settings)),
        "AIRFLOW_CONN_MEDILINK_S3": json.dumps(bucket_connection(settings)),
    }


def services(settings: LocalSettings) -> list[Service]:
    """The four components, in the order in which a run needs them."""
    variables = environment(settings)
    return [
        Service(
            name,
            [*COMMAND, *arguments],
            variables,
            folder(settings),
            settings.airflow_port if name == "airflow-api-server" else None,
        )
        for name, arguments in COMPONENTS.items()
    ]


def migration(settings: LocalSettings) -> Service:
    """What makes or upgrades Airflow's tables, and then ends."""
    return Service(
        "airflow-migration",
        [*COMMAND, "db", "migrate"],
        environment(settings),
        folder(settings),
        stop_signal=signal.SIGTERM,
    )


def is_migrated(settings: LocalSettings, airflow_database: psycopg.Connection) -> bool:
    """Whether the database is still as the installed Airflow left it when it migrated last."""
    marker = folder(settings) / "migrated"
    return marker.exists() and marker.read_text(encoding="utf-8") == _revision(airflow_database)


def mark_migrated(settings: LocalSettings, airflow_database: psycopg.Connection) -> None:
    """Remember that this Airflow has migrated this database."""
    (folder(settings) / "migrated").write_text(_revision(airflow_database), encoding="utf-8")


def healthy_components(settings: LocalSettings, since: datetime) -> set[str]:
    """The components that are healthy and have given a sign of life after `since`."""
    try:
        health = web.call(f"{address(settings)}/api/v2/monitor/health")
    except OSError:
        return set()
    healthy = {"airflow-api-server"} if health["metadatabase"]["status"] == "healthy" else set()
    for component in ("scheduler", "triggerer", "dag_processor"):
        state = health[component] or {}
        heartbeat = state.get(f"latest_{component}_heartbeat")
        # A component that was killed a moment ago still counts as healthy.
        if state.get("status") == "healthy" and heartbeat and datetime.fromisoformat(heartbeat) >= since:
            healthy.add("airflow-" + component.replace("_", "-"))
    return healthy


@dataclass(frozen=True)
class Task:
    """One task instance of a run."""

    name: str
    attempt: int
    state: str
    seconds: float | None


class Client:
    """Airflow's REST API for one DAG, as the user admin."""

    def __init__(self, settings: LocalSettings, dag_id: str) -> None:
        self.dag_id = dag_id
        self.address = address(settings)
        self.dag = f"{self.address}/api/v2/dags/{dag_id}"
        self.logs = folder(settings) / "logs"
        login: dict[str, object] = {"username": "admin", "password": settings.airflow_admin_password.get_secret_value()}
        self.token: str = web.call(f"{self.address}/auth/token", body=login)["access_token"]

    def is_parsed(self, since: datetime) -> bool:
        """Whether the DAG was read after `since`. Raises `StartFailed` when its file cannot be imported."""
        errors = self._get(f"{self.address}/api/v2/importErrors")["import_errors"]
        for error in errors:
            if error["filename"].endswith(f"{self.dag_id}.py"):
                raise StartFailed(f"{error['filename']} cannot be imported:\n{error['stack_trace']}")
        try:
            parsed = self._get(self.dag)["last_parsed_time"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return parsed is not None and datetime.fromisoformat(parsed) >= since

    def unfinished_runs(self) -> list[str]:
        """The ids of the runs that are queued or under way, oldest first."""
        answer = self._get(f"{self.dag}/dagRuns?state=queued&state=running&order_by=run_after")
        return [run["dag_run_id"] for run in answer["dag_runs"]]

    def trigger(self, feeds: tuple[str, ...]) -> str:
        """Start a run that takes these feeds; returns its id."""
        body: dict[str, object] = {"logical_date": None, "conf": {"feeds": feeds}}
        run = web.call(f"{self.dag}/dagRuns", body=body, token=self.token)
        return str(run["dag_run_id"])

    def page(self, run_id: str) -> str:
        """Where a browser shows the run."""
        return f"{self.address}/dags/{self.dag_id}/runs/{run_id}"

    def run_state(self, run_id: str) -> str:
        """queued, running, success or failed."""
        return str(self._get(f"{self.dag}/dagRuns/{_quoted(run_id)}")["state"])

    def tasks(self, run_id: str) -> list[Task]:
        """The task instances of a run in the order in which they started, those that have not last."""
        answer = self._get(f"{self.dag}/dagRuns/{_quoted(run_id)}/taskInstances?limit=100")
        found = sorted(
            answer["task_instances"], key=lambda task: (task["start_date"] is None, task["start_date"] or "")
        )
        return [
            Task(
                task["task_id"],
                task["try_number"],
                task["state"] or "waiting",
                task["duration"] or _seconds_since(task["start_date"]),
            )
            for task in found
        ]

    def log(self, run_id: str, task: Task) -> Path:
        """Where the log of a task's last attempt is."""
        parts = [f"dag_id={self.dag_id}", f"run_id={run_id}", f"task_id={task.name}"]
        return self.logs.joinpath(*parts, f"attempt={task.attempt}.log")

    def reason(self, run_id: str, task: Task) -> str:
        """Why a task failed: the error that ended its last attempt."""
        found = "no error is in its log"
        log = self.log(run_id, task)
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if details := entry.get("error_detail"):
                found = f"{details[-1]['exc_type']}: {details[-1]['exc_value']}"
            elif entry.get("level") in {"error", "critical"}:
                found = str(entry.get("event"))
        return found

    def _get(self, url: str) -> dict[str, Any]:
        """The answer of a GET; a server that is too busy for a moment is asked again."""
        for _ in range(5):
            try:
                return web.call(url, token=self.token)
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
            except OSError:
                pass
            time.sleep(1)
        return web.call(url, token=self.token)


def _seconds_since(moment: str | None) -> float | None:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() if moment else None


def _quoted(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")


def _revision(airflow_database: psycopg.Connection) -> str:
    """The installed Airflow, and the migration its database is at."""
    installed = importlib.metadata.version("apache-airflow")
    if airflow_database.execute("select to_regclass('alembic_version')").fetchone() == (None,):
        return f"{installed} nothing"
    row = airflow_database.execute("select version_num from alembic_version").fetchone()
    return f"{installed} {row[0] if row else 'nothing'}"


def warehouse_connection(settings: Settings) -> dict[str, Any]:
    """Airflow's connection medilink_postgres."""
    return {
        "conn_type": "postgres",
        "host": settings.postgres_host,
        "port": settings.postgres_port,
        "login": settings.postgres_user,
        "password": settings.postgres_password.get_secret_value(),
        "schema": settings.postgres_db,
        "extra": {
            "sslmode": settings.postgres_sslmode,
            "connect_timeout": 10,
            "application_name": "medilink-airflow",
            "options": PIPELINE_OPTIONS,
            **KEEPALIVES,
        },
    }


def bucket_connection(settings: Settings) -> dict[str, Any]:
    """Airflow's connection medilink_s3; without keys it finds the instance's role."""
    secret = settings.aws_secret_access_key
    return {
        "conn_type": "aws",
        "login": settings.aws_access_key_id,
        "password": secret.get_secret_value() if secret else None,
        "extra": {"endpoint_url": settings.aws_endpoint_url, "region_name": settings.aws_region},
    }
