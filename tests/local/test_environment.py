"""`.env` is made once, completed later, private always."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from local.environment import DEFAULTS, GENERATED, LocalSettings, children_environment, complete, export


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for `.env`, with nothing in the environment that would stand in for it."""
    for name in (*DEFAULTS, *GENERATED):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / ".env"
    monkeypatch.setenv("MEDILINK_ENV_FILE", str(path))
    return path


def test_the_first_start_makes_every_name_and_nobody_else_can_read_it(env_file: Path) -> None:
    complete(env_file)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    values = dotenv_values(env_file)
    assert set(values) == {*DEFAULTS, *GENERATED}
    assert all(values.values())
    assert len({values[name] for name in GENERATED}) == len(GENERATED)


def test_a_second_start_changes_nothing(env_file: Path) -> None:
    complete(env_file)
    before = env_file.read_bytes()
    complete(env_file)
    assert env_file.read_bytes() == before


def test_what_is_there_is_kept_and_made_private(env_file: Path) -> None:
    env_file.write_text("# mine\nAPI_PORT=5001\nAPI_CLIENT_SECRET=chosen\nPOSTGRES_PASSWORD=\n", encoding="utf-8")
    env_file.chmod(0o644)
    complete(env_file)
    values = dotenv_values(env_file)
    assert values["API_PORT"] == "5001"
    assert values["API_CLIENT_SECRET"] == "chosen"
    assert values["POSTGRES_PASSWORD"]
    text = env_file.read_text(encoding="utf-8")
    assert text.startswith("# mine\n")
    assert text.count("\nPOSTGRES_PASSWORD=") == 1
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_the_environment_wins_and_its_secrets_are_not_written(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_CLIENT_SECRET", "from-the-environment")
    monkeypatch.setenv("S3_PORT", "9911")
    complete(env_file)
    values = dotenv_values(env_file)
    assert "API_CLIENT_SECRET" not in values
    assert values["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9911"


def test_children_are_pointed_to_the_embedded_services(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("POSTGRES_HOST=db.example.org\nS3_PORT=9911\nFLOW_RUN_TIMEOUT=99\n", encoding="utf-8")
    complete(env_file)
    for name in dotenv_values(env_file):
        monkeypatch.setenv(name, "")
    export(env_file)
    monkeypatch.setenv("AWS_PROFILE", "someone-elses")
    monkeypatch.setenv("NO_PROXY", "example.org")
    environment = children_environment(LocalSettings())
    assert environment["POSTGRES_HOST"] == "127.0.0.1"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9911"
    assert environment["FLOW_RUN_TIMEOUT"] == "99"
    assert environment["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    assert "AWS_PROFILE" not in environment
    assert "POSTGRES_SUPERUSER_PASSWORD" not in environment
