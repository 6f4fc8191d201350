"""A PostgreSQL that may be stopped, and a warehouse with a drop in its input for each test."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from elt import bucket
from elt.database import initialise, migrate
from elt.settings import REPOSITORY
from tests.conftest import Warehouse, _settings
from tests.faults.harness import Night, drop_everything, empty
from tests.faults.servers import Database, database

TEMPLATE = "faults_template"


@pytest.fixture(scope="session")
def database_server() -> Iterator[Database]:
    with database() as server:
        yield server


@pytest.fixture(scope="session")
def fault_template(database_server: Database) -> str:
    server = database_server.server
    with server.connect("postgres") as admin:
        admin.execute(f"create database {TEMPLATE}")
    settings = _settings(server, TEMPLATE, None, Path("unused"))
    with server.connect("postgres", TEMPLATE) as admin:
        initialise(admin, settings)
    migrate(settings)
    return TEMPLATE


@pytest.fixture(scope="session")
def quick_dbt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An executable that does in half a second what dbt needs a quarter of a minute for."""
    script = tmp_path_factory.mktemp("dbt") / "dbt"
    source = (REPOSITORY / "tests" / "faults" / "quick_dbt.py").read_text(encoding="utf-8")
    script.write_text(f"#!{sys.executable}\n{source}", encoding="utf-8")
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="session")
def drop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drops") / "drop"


Made = Callable[..., Night]


@pytest.fixture
def make_night(
    database_server: Database, fault_template: str, s3_endpoint: str, quick_dbt: str, drop_folder: Path, tmp_path: Path
) -> Iterator[Made]:
    """Warehouses of the test's own; each is looked through by `verify` at the end."""
    server = database_server.server
    made: list[Night] = []

    def make(*, name: str | None = None, tablespace: str = "pg_default", dbt: str | None = quick_dbt) -> Night:
        name = name or f"faults_{uuid.uuid4().hex[:12]}"
        with server.connect("postgres") as admin:
            admin.execute(f"create database {name} template {fault_template} tablespace {tablespace}")
        folder = tmp_path / name
        folder.mkdir()
        settings = _settings(server, name, s3_endpoint, folder / "home").model_copy(update={"dbt_executable": dbt})
        with server.connect("postgres", name) as admin:
            initialise(admin, settings)
        warehouse = Warehouse.of(settings)
        bucket.ensure_bucket(warehouse.s3, settings)
        empty(warehouse)
        drop_everything(warehouse, drop_folder)
        made.append(Night(warehouse, folder))
        return made[-1]

    yield make
    findings = [finding for night in made for finding in night.warehouse.findings()]
    with server.connect("postgres") as admin:
        for night in made:
            name = sql.Identifier(night.warehouse.settings.postgres_db)
            admin.execute(sql.SQL("drop database {} with (force)").format(name))
    assert findings == []


@pytest.fixture
def night(make_night: Made) -> Night:
    return make_night()


@pytest.fixture
def admin(database_server: Database, night: Night) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the night's warehouse."""
    with database_server.server.connect("postgres", night.warehouse.settings.postgres_db) as connection:
        yield connection


@dataclass(frozen=True)
class Undisturbed:
    """A night to which nothing happened: the hash of each table afterwards, and how long it took."""

    tables: dict[str, str]
    seconds: float


_undisturbed: list[Undisturbed] = []


@pytest.fixture
def undisturbed(make_night: Made) -> Undisturbed:
    if not _undisturbed:
        night = make_night()
        seconds = night.finish()
        _undisturbed.append(Undisturbed(night.tables(), seconds))
    return _undisturbed[0]
