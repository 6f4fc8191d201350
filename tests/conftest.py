"""The real parts that tests run against: PostgreSQL and an S3 endpoint, each started once.

Each test has a fresh database and a fresh bucket.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from elt import bucket
from elt.contract import FEEDS
from elt.database import initialise, migrate
from elt.pipeline import Pipeline
from elt.report import BatchReport, batch_report
from elt.settings import REPOSITORY, Settings
from elt.verify import verify
from local import postgres, s3

TEMPLATE = "medilink_template"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses a service or a fetched program is an integration test, whether its file says so or not."""
    for item in items:
        if {"server", "s3_endpoint", "uv", "terraform", "prometheus"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.throwaway() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3.throwaway() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def template(server: postgres.Server) -> str:
    """A migrated, empty warehouse; each test gets a copy."""
    with server.connect("postgres") as admin:
        admin.execute(f"create database {TEMPLATE}")
    settings = _settings(server, TEMPLATE, None, Path("unused"))
    with server.connect("postgres", TEMPLATE) as admin:
        initialise(admin, settings)
    migrate(settings)
    return TEMPLATE


def _settings(server: postgres.Server, database: str, endpoint: str | None, home: Path) -> Settings:
    return Settings(
        _env_file=None,
        postgres_port=server.port,
        postgres_db=database,
        postgres_password=SecretStr("pipeline-password"),
        api_postgres_password=SecretStr("api-password"),
        api_client_secret=SecretStr("secret-of-the-local-admin"),
        api_signing_keys=SecretStr("dGVzdC1zaWduaW5nLWtleS1vZi1tZWRpbGluay0wMDA"),
        api_rate_limit="1000000/second",
        research_pseudonym_key=SecretStr("test-key-of-the-research-pseudonyms"),
        s3_bucket_name=database.replace("_", "-"),
        aws_endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key=SecretStr("test"),
        medilink_home=home,
    )


@pytest.fixture
def settings(server: postgres.Server, template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh warehouse of this test's own."""
    database = f"medilink_{uuid.uuid4().hex[:12]}"
    with server.connect("postgres") as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(database), sql.Identifier(template))
        )
    settings = _settings(server, database, None, tmp_path / "home")
    # What init.sql sets on the database itself is not copied with a template.
    with server.connect("postgres", database) as admin:
        initialise(admin, settings)
    yield settings
    with server.connect("postgres") as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))


@pytest.fixture
def admin(server: postgres.Server, settings: Settings) -> Iterator[psycopg.Connection]:
    """A superuser's connection to the test's warehouse."""
    with server.connect("postgres", settings.postgres_db) as connection:
        yield connection


class Warehouse(Pipeline):
    """The pipeline with what tests do to it: drop files, run to the end of promotion, look at the outcome."""

    def drop(self, name: str, content: str | bytes) -> str:
        """Put one file into hospitals' input; returns its key."""
        return self._put(self.settings.s3_input_prefix + name, content)

    def drop_return(self, name: str, content: bytes) -> str:
        """Put one file into the input of NHS returns; returns its key."""
        return self._put(self.settings.s3_nhs_prefix + name, content)

    def _put(self, key: str, content: str | bytes) -> str:
        body = content.encode() if isinstance(content, str) else content
        self.s3.put_object(Bucket=self.settings.s3_bucket_name, Key=key, Body=body)
        return key

    def ingest(self) -> BatchReport:
        """A run without dbt: extract, load, promote."""
        batch_id = self.begin(f"test-{uuid.uuid4()}")
        self.extract(batch_id)
        for feed in FEEDS:
            self.load(batch_id, feed)
        self.promote(batch_id)
        self.end(batch_id)
        return self.report()

    def report(self) -> BatchReport:
        """What the newest batch did."""
        with self.connect("loader") as connection:
            report = batch_report(connection)
        assert report is not None
        return report

    def ask(self, query: str) -> list[tuple]:
        """Rows of a query, as the loader."""
        with self.connect("loader") as connection:
            return connection.execute(query).fetchall()

    def objects(self, prefix: str) -> dict[str, bytes]:
        """What lies below a prefix, by key."""
        found = self.s3.list_objects_v2(Bucket=self.settings.s3_bucket_name, Prefix=prefix).get("Contents", [])
        return {
            item["Key"]: self.s3.get_object(Bucket=self.settings.s3_bucket_name, Key=item["Key"])["Body"].read()
            for item in found
        }

    def findings(self) -> list[object]:
        """What verify finds, every archived byte hashed."""
        with self.connect("loader") as connection:
            return list(verify(connection, self.s3, self.settings, hash_bytes=True))


@pytest.fixture
def warehouse(settings: Settings, s3_endpoint: str) -> Iterator[Warehouse]:
    """An empty warehouse and an empty, versioned bucket. Every test ends with `verify`."""
    settings = settings.model_copy(update={"aws_endpoint_url": s3_endpoint})
    pipeline = Warehouse.of(settings)
    bucket.ensure_bucket(pipeline.s3, settings)
    yield pipeline
    assert pipeline.findings() == []


@pytest.fixture
def real_data() -> Path:
    """Real inputs that are not part of the repository; see MEDILINK_REAL_DATA in CONTRIBUTING.md."""
    folder = Path(os.environ.get("MEDILINK_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {folder} is not there. Point MEDILINK_REAL_DATA to the real inputs.")
    return folder
