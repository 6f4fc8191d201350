"""Settings: `.env.example` and the code know the same names, and what cannot be used is refused in words that help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from elt.settings import REPOSITORY, Settings
from local import environment
from local.environment import DEFAULTS, GENERATED, LocalSettings

EXAMPLE = REPOSITORY / ".env.example"
# Every NAME= of the example, also those that stand in a comment because their place is the environment.
NAMES = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
VALUES = dotenv_values(EXAMPLE)
FIELDS = {name.upper(): field for name, field in LocalSettings.model_fields.items()}

# Names of others that Medilink honours, and those of the original that nothing reads yet.
OTHERS = {"AWS_DEFAULT_REGION", "DBT_PROFILES_DIR", "MEDILINK_ENV_FILE"}
READ_BY_DBT = set(re.findall(r"env_var\('(\w+)'", (REPOSITORY / "dbt/profiles.yml").read_text(encoding="utf-8")))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings comes from the environment of whoever runs the tests."""
    for name in (*NAMES, *(f"{name}_FILE" for name in NAMES)):
        monkeypatch.delenv(name, raising=False)


class TestTheExample:
    def test_names_every_setting_and_nothing_else(self) -> None:
        assert set(NAMES) == FIELDS.keys() | READ_BY_DBT | OTHERS
        assert len(NAMES) == len(set(NAMES))

    def test_names_everything_that_start_sh_writes(self) -> None:
        assert GENERATED.keys() | DEFAULTS.keys() <= VALUES.keys()

    def test_explains_every_name(self) -> None:
        lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
        bare = [name for name in NAMES if not _explained(lines, name)]
        assert bare == []

    def test_shows_the_defaults_and_no_secret(self) -> None:
        shown = {name: VALUES[name] for name in FIELDS.keys() & VALUES.keys()}
        assert {name for name in GENERATED if shown[name]} == set()
        wrong = {name: value for name, value in shown.items() if value and value != str(FIELDS[name].get_default())}
        assert wrong == {}

    def test_a_copy_of_it_is_completed_in_place(self, tmp_path: Path) -> None:
        copy = tmp_path / ".env"
        copy.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
        environment.complete(copy)
        text = copy.read_text(encoding="utf-8")
        assert len(text.splitlines()) == len(EXAMPLE.read_text(encoding="utf-8").splitlines())
        completed = dotenv_values(copy)
        assert [name for name in (*GENERATED, *DEFAULTS) if not completed[name]] == []
        assert completed["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
        assert oct(copy.stat().st_mode)[-3:] == "600"
        assert Settings(_env_file=copy).api_client_secret.get_secret_value() == completed["API_CLIENT_SECRET"]


def _explained(lines: list[str], name: str) -> bool:
    """Whether a comment stands above the name, or above its group."""
    above = next(index for index, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{name}="))
    while not lines[above].startswith("# ") or re.match(r"# [A-Z0-9_]+=", lines[above]):
        above -= 1
    return not lines[above].startswith("# ---") or name in {"S3_BUCKET_NAME", "API_PORT", "AIRFLOW_PORT"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("POSTGRES_HOST", "http://db.example.org", "without http://"),
        ("POSTGRES_HOST", "db.example.org/medilink", "without a path"),
        ("POSTGRES_HOST", "db.example.org", "verify-full"),
        ("POSTGRES_HOST", "10.0.0.7", "verify-full"),
        ("POSTGRES_PORT", "70000", "less than or equal to 65535"),
        ("POSTGRES_PORT", "default", "valid integer"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "with its scheme"),
        ("S3_ARCHIVE_PREFIX", "medical_records/input/archive/", "lies inside S3_INPUT_PREFIX"),
        ("S3_ARCHIVE_PREFIX", "medical_records/input", "lies inside S3_INPUT_PREFIX"),
        ("S3_ARCHIVE_PREFIX", "nhs_uploads/archive", "lies inside S3_NHS_PREFIX"),
        ("S3_NHS_PREFIX", "medical_records/input/nhs", "lie inside one another"),
        ("WATCHDOG_WEBHOOK_URL", "hooks.example.org", "with its scheme"),
        ("WATCHDOG_CLOUDWATCH", "Medilink", "a namespace and an environment"),
        ("FLOW_RUN_TIMEOUT", "0", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=re.escape(says)):
        Settings(_env_file=None)


@pytest.mark.parametrize(
    ("host", "mode"),
    [("db.example.org", "verify-full"), ("10.0.0.7", "disable"), ("127.0.0.1", "prefer"), ("postgres", "prefer")],
)
def test_plain_text_to_another_machine_is_no_accident(monkeypatch: pytest.MonkeyPatch, host: str, mode: str) -> None:
    monkeypatch.setenv("POSTGRES_HOST", host)
    monkeypatch.setenv("POSTGRES_SSLMODE", mode)
    assert Settings(_env_file=None).postgres_sslmode == mode


def test_the_command_names_a_bad_setting_and_shows_no_trace() -> None:
    variables = os.environ | {"MEDILINK_ENV_FILE": "none", "POSTGRES_HOST": "http://db", "POSTGRES_PASSWORD": "s3cret"}
    answer = subprocess.run(
        [sys.executable, "-c", "from elt.cli import main; main()", "report"],
        cwd=REPOSITORY,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("POSTGRES_HOST: ")
    assert "Set it in .env or in the environment." in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "s3cret" not in answer.stderr + answer.stdout


def test_prefixes_are_read_with_or_without_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_INPUT_PREFIX", "/drops")
    assert Settings(_env_file=None).s3_input_prefix == "drops/"


class TestSecretsFromFiles:
    SECRETS = sorted(name for name, field in FIELDS.items() if "SecretStr" in str(field.annotation))

    @pytest.mark.parametrize("name", SECRETS)
    def test_a_secret_may_come_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_text("https://from.the/file\n", encoding="utf-8")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
        monkeypatch.setenv(name, "from the environment")
        assert getattr(LocalSettings(_env_file=None), name.lower()).get_secret_value() == "https://from.the/file"

    def test_an_empty_file_is_as_good_as_none(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Containers get a file for every secret, also for those that nobody has set."""
        (tmp_path / "secret").write_text("\n", encoding="utf-8")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(tmp_path / "secret"))
        assert Settings(_env_file=None).aws_secret_access_key is None

    def test_a_file_that_cannot_be_read_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(tmp_path / "missing"))
        with pytest.raises(ValidationError, match=r"POSTGRES_PASSWORD_FILE: cannot read .*missing \(No such file"):
            Settings(_env_file=None)

    def test_start_sh_writes_no_secret_that_a_file_holds(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("from the file", encoding="utf-8")
        monkeypatch.setenv("API_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
        environment.complete(tmp_path / ".env")
        assert "API_CLIENT_SECRET" not in dotenv_values(tmp_path / ".env")
