"""The `medilink` command in this process, over the test's own warehouse."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest
from typer.testing import CliRunner, Result

from elt import cli
from tests.releases import release


@pytest.fixture
def medilink(warehouse, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    settings = warehouse.settings
    environment = {
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "S3_BUCKET_NAME": settings.s3_bucket_name,
        "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "MEDILINK_HOME": str(settings.medilink_home),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def finish(warehouse, admin: psycopg.Connection) -> Callable[[], None]:
    """Let what was promoted be published without dbt, then archive."""

    def publish_and_archive() -> None:
        batch_id = warehouse.begin(f"archiving-{uuid.uuid4()}")
        release(admin, batch_id)
        warehouse.archive(batch_id)

    return publish_and_archive
