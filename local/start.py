"""The command line behind `./start.sh`: start, run, watch, stop. `./start.sh --help` tells the options."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from pydantic import ValidationError
from rich.console import Console

from elt.database import connect
from elt.report import batch_report
from elt.settings import REPOSITORY
from local import environment, pipeline, postgres, summary
from local.environment import LocalSettings, env_file
from local.health import SERVICES, healthy_services
from local.pipeline import RunFailed
from local.ports import PortTaken, check_ports
from local.progress import Progress, make_console
from local.stack import bring_up
from local.supervisor import (
    AlreadyRunning,
    ChildDied,
    StartFailed,
    Stopped,
    Supervisor,
    is_same,
    locked,
    read_record,
    sweep,
)

DEFAULT_HOME = REPOSITORY / ".medilink"
# What start.sh puts below MEDILINK_HOME before anything else.
INSTALLED = {"bootstrap", "cache"}
STOP_TIMEOUT = 60
STATUS_INTERVAL = 5


def main() -> int:
    """Run the command that the arguments name; returns the exit code."""
    options = _parse(sys.argv[1:])
    # Everything below MEDILINK_HOME is the caller's alone.
    os.umask(0o077)
    try:
        settings = _settings()
        home = settings.medilink_home
        commands: dict[str | None, Callable[[], int]] = {
            None: lambda: _detached(settings, options) if options.detach else _start(settings, options),
            "status": lambda: _status(settings, as_json=options.json),
            "stop": lambda: _stop(home),
            "logs": lambda: _logs(home, options.service),
            "reset": lambda: _reset(home, is_confirmed=options.yes),
        }
        return commands[options.command]()
    except AlreadyRunning as error:
        return _complain(
            f"Medilink runs already (pid {error}). './start.sh status' shows it, './start.sh stop' ends it, "
            "'.venv/bin/medilink run' starts another run of the pipeline."
        )
    except (ChildDied, PortTaken, RunFailed, StartFailed, OSError) as error:
        return _complain(str(error))
    except ValidationError as error:
        # The values stay out: some are secrets.
        problems = [
            f"{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors(include_input=False)
        ]
        return _complain("\n".join(problems) + f"\nCorrect it in {env_file()} or in the environment.")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("./start.sh", usage="see ./start.sh --help", add_help=False)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true")
    how.add_argument("--detach", action="store_true")
    parser.add_argument("--drops", type=Path)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("status", add_help=False).add_argument("--json", action="store_true")
    commands.add_parser("stop", add_help=False)
    commands.add_parser("logs", add_help=False).add_argument("service", nargs="?")
    commands.add_parser("reset", add_help=False).add_argument("--yes", action="store_true")
    return parser.parse_args(arguments)


def _settings() -> LocalSettings:
    """The settings, after `.env` is made or completed. The state folder exists from here on."""
    path = env_file()
    environment.complete(path)
    environment.export(path)
    settings = LocalSettings()
    settings.medilink_home = home = settings.medilink_home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    # Once the lock lies in a folder it is ours, and `reset` may empty it.
    if home != DEFAULT_HOME and not (home / "lock").exists() and {path.name for path in home.iterdir()} - INSTALLED:
        raise StartFailed(f"MEDILINK_HOME is {home}, which holds other things. Name a folder of its own.")
    if os.geteuid() == 0:
        # So that PostgreSQL's account can reach its own folder, and see nothing else.
        home.chmod(0o711)
    return settings


def _tell(message: str) -> None:
    sys.stdout.write(message + "\n")


def _complain(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1


def _start(settings: LocalSettings, options: argparse.Namespace, done: Callable[[int], None] | None = None) -> int:
    """Start, run, and stay until something ends it; `done` is told the run's exit code when it is to stay unseen."""
    home = settings.medilink_home
    if options.drops is not None and not options.drops.is_dir():
        raise FileNotFoundError(
            f"{options.drops}: no such folder. --drops takes a folder that holds the files to load."
        )
    console = make_console()
    progress = Progress(console)
    code = 0
    with locked(home):
        for name in sweep(home):
            progress.say(f"ended {name}, which a killed start had left behind")
        check_ports(settings)
        supervisor = Supervisor(home)
        try:
            with supervisor:
                failure = _run(console, supervisor, settings, progress, options.drops)
                if failure is not None:
                    if done is None:
                        raise failure
                    code = _complain(str(failure))
                summary.print_addresses(console, settings)
                if options.once:
                    return code
                if done is not None:
                    done(code)
                    progress = Progress(make_console())
                else:
                    progress.say("Ctrl-C stops everything")
                _stream(supervisor, settings, progress)
        except Stopped as stop:
            progress.say(f"stopped by {stop}")
            # Before the summary the signal has cut something short.
            return 0 if supervisor.is_up else 130
    return code


def _run(
    console: Console, supervisor: Supervisor, settings: LocalSettings, progress: Progress, drops: Path | None
) -> RunFailed | None:
    """Bring everything up, run the pipeline, and print what the run did, also when it failed; returns the failure."""
    failure: RunFailed | None = None
    run_id: str | None
    with progress.display():
        since = bring_up(supervisor, settings, progress)
        progress.say(f"all {len(SERVICES)} services are healthy")
        try:
            run_id = pipeline.run(supervisor, settings, progress, since, drops)
            progress.say("the run succeeded")
        except RunFailed as error:
            failure, run_id = error, error.run_id
    if run_id is not None:
        with connect(settings, "loader") as connection:
            report = batch_report(connection, run_key=run_id)
        if report is not None:
            summary.print_report(console, report)
    return failure


def _stream(supervisor: Supervisor, settings: LocalSettings, progress: Progress) -> None:
    """Print every change of the services' health and of the last batch, until a signal or a death ends it."""
    supervisor.is_up = True
    healthy = set(SERVICES)
    batch = _last_batch(settings)
    with progress.display():
        while True:
            supervisor.check()
            time.sleep(STATUS_INTERVAL)
            now = healthy_services(settings)
            for name in SERVICES:
                if (name in now) != (name in healthy):
                    progress.say(f"{name} is {'healthy again' if name in now else 'not healthy'}")
            latest = _last_batch(settings) if "postgres" in now else batch
            if latest != batch and latest:
                progress.say(f"batch {latest['batch_id']} ({latest['run_key']}): {latest['state']}")
            healthy, batch = now, latest
            told = f"last batch {batch['batch_id']} {batch['state']}" if batch else "no batch yet"
            if progress.console.is_terminal:
                progress.waiting(f"{len(healthy)} of {len(SERVICES)} services healthy, {told}, Ctrl-C stops everything")


def _last_batch(settings: LocalSettings) -> dict[str, Any] | None:
    """The newest batch, or None when there is none or nobody to ask."""
    try:
        with connect(settings, "loader") as connection:
            row = connection.execute(
                """
                select batch_id, run_key, state, started_at::text, completed_at::text
                from audit.batches
                order by batch_id desc
                limit 1
                """
            ).fetchone()
    except psycopg.Error:
        return None
    return dict(zip(("batch_id", "run_key", "state", "started_at", "completed_at"), row, strict=True)) if row else None


def _detached(settings: LocalSettings, options: argparse.Namespace) -> int:
    """Start in a process of its own that outlives this one, and return once it tells the run's exit code."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setsid()

        def done(code: int) -> None:
            sys.stdout.flush()
            log = os.open(settings.medilink_home / "logs" / "start.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.write(writer, bytes([code]))
            os.close(writer)

        raise SystemExit(_start(settings, options, done))
    os.close(writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(pid, signal.SIGTERM))
    told = os.read(reader, 1)
    # Nothing told: it has ended before the run did.
    return told[0] if told else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _status(settings: LocalSettings, *, as_json: bool) -> int:
    """Print each service with pid, port, health and uptime, and the last batch; 0 when all are healthy."""
    record = read_record(settings.medilink_home)
    children = {child.name: child for child in record.children if is_same(child.pid, child.created)} if record else {}
    healthy = healthy_services(settings) & children.keys()
    services = [
        {
            "name": name,
            "pid": children[name].pid if name in children else None,
            "port": children[name].port if name in children else None,
            "healthy": name in healthy,
            "uptime_seconds": round(time.time() - children[name].created) if name in children else None,
        }
        for name in SERVICES
    ]
    batch = _last_batch(settings)
    is_healthy = len(healthy) == len(SERVICES)
    if as_json:
        _tell(json.dumps({"healthy": is_healthy, "services": services, "last_batch": batch}, indent=2))
        return 0 if is_healthy else 1
    for service in services:
        state = "healthy" if service["healthy"] else "not healthy" if service["pid"] else "stopped"
        details = f"pid {service['pid']}, up {service['uptime_seconds']} s" if service["pid"] else ""
        port = f", port {service['port']}" if service["port"] else ""
        _tell(f"{service['name']:24} {state:12} {details}{port}")
    if batch:
        _tell(f"last batch {batch['batch_id']} ({batch['run_key']}): {batch['state']}, started {batch['started_at']}")
    return 0 if is_healthy else 1


def _stop(home: Path) -> int:
    """End the running supervisor and, if it was killed, what it left behind."""
    record = read_record(home)
    is_supervised = record is not None and record.is_supervised
    if record and is_supervised:
        supervisor = psutil.Process(record.supervisor)
        supervisor.terminate()
        try:
            supervisor.wait(STOP_TIMEOUT)
        except psutil.TimeoutExpired:
            supervisor.kill()
            supervisor.wait(STOP_TIMEOUT)
        _tell(f"stopped (pid {record.supervisor})")
    with locked(home):
        left = sweep(home)
    for name in left:
        _tell(f"ended {name}, which a killed start had left behind")
    if not left and not is_supervised:
        _tell("nothing runs")
    return 0


def _logs(home: Path, service: str | None) -> int:
    """Follow the log of `service`, or list the logs."""
    folder = home / "logs"
    if service is None:
        for log in sorted(folder.glob("*.log")):
            _tell(str(log))
        return 0
    log = folder / f"{service}.log"
    if not log.exists():
        return _complain(
            f"there is no log of {service}; there are: {', '.join(sorted(p.stem for p in folder.glob('*.log')))}"
        )
    with suppress(KeyboardInterrupt):
        subprocess.run([shutil.which("tail") or "/usr/bin/tail", "-n", "200", "-F", log], check=False)
    return 0


def _reset(home: Path, *, is_confirmed: bool) -> int:
    """Delete everything below MEDILINK_HOME except what installing made; asks before."""
    with locked(home):
        sweep(home)
        doomed = sorted(path for path in home.iterdir() if path.name not in INSTALLED | {"lock"})
        if not doomed:
            _tell("nothing to delete")
            return 0
        _tell(
            f"This deletes the warehouse, the bucket and all logs: {', '.join(path.name for path in doomed)} in {home}"
        )
        if not is_confirmed:
            _tell("Type yes to go on:")
            if sys.stdin.readline().strip() != "yes":
                return _complain("nothing was deleted")
        postgres.remove(home)
        for path in doomed:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    _tell(f"deleted; {env_file()} stays, with its ports and passwords")
    return 0


if __name__ == "__main__":
    sys.exit(main())
