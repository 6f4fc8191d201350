"""Containers, as far as a machine without an engine can tell: the compose files, the names they hand over, the images'
install steps, run for real into folders of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
import yaml

from local import fetch_uv
from local.environment import GENERATED, ServiceSettings
from tests.infrastructure.conftest import REPOSITORY, Run

COMPOSE, ON_AWS = REPOSITORY / "docker-compose.yaml", REPOSITORY / "docker-compose.aws.yaml"
DOCKERFILES = [
    REPOSITORY / "Dockerfile",
    REPOSITORY / "backend" / "Dockerfile",
    REPOSITORY / "dashboard" / "Dockerfile",
]
FIELDS = {name.upper(): kind for name, kind in ServiceSettings.model_fields.items()}
SECRETS = {name for name, kind in FIELDS.items() if "SecretStr" in str(kind.annotation)}
READ_BY_DBT = set(re.findall(r"env_var\('(\w+)'", (REPOSITORY / "dbt/profiles.yml").read_text(encoding="utf-8")))
# Names that others read: boto3 and dbt.
OTHERS = {"AWS_DEFAULT_REGION", "DBT_PROFILES_DIR"}
OURS = {"init", "webserver", "scheduler", "dag-processor", "triggerer", "backend", "watchdog", "worker", "metrics"}


@pytest.fixture(scope="session")
def services() -> dict[str, dict]:
    """The services as YAML reads them, merge keys resolved."""
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


def environment(service: dict) -> dict[str, str]:
    return service.get("environment", {})


class TestTheComposeFile:
    def test_is_valid_with_all_its_profiles(self, program: Run) -> None:
        """docker compose's own reading: the specification's schema, merge keys, references, dependencies."""
        checked = program(
            "docker-compose", "--file", COMPOSE, "--profile", "scale", "--profile", "monitoring", "config", "--quiet"
        )
        # The package's program ends with 0 whatever it finds.
        assert checked.stdout + checked.stderr == ""

    def test_refuses_what_the_specification_does_not_know(self, program: Run, tmp_path: Path) -> None:
        damaged = tmp_path / "docker-compose.yaml"
        damaged.write_text(COMPOSE.read_text(encoding="utf-8").replace("healthcheck:", "health_check:"))
        checked = program("docker-compose", "--file", damaged, "config", "--quiet")
        assert "additional properties 'health_check' not allowed" in checked.stderr

    def test_is_valid_on_aws_and_starts_neither_database_nor_bucket_there(self, program: Run) -> None:
        place = {"LOG_GROUP": "group", "AWS_REGION": "eu-west-1", "POSTGRES_HOST": "db.example.org"}
        read = program(
            "docker-compose", "--file", COMPOSE, "--file", ON_AWS, "config", "--format", "json", env=os.environ | place
        )
        assert read.stderr == ""
        on_aws = json.loads(read.stdout)
        assert {"postgres", "s3"} & on_aws["services"].keys() == set()
        for name, service in on_aws["services"].items():
            assert service["logging"]["driver"] == "awslogs", name
            if name in OURS:
                assert service["environment"]["POSTGRES_HOST"] == "db.example.org", name
                assert not service["environment"]["AWS_ENDPOINT_URL"], name
        assert [name for name, secret in on_aws["secrets"].items() if "file" not in secret] == []

    def test_has_the_services_that_users_know(self, services: dict[str, dict]) -> None:
        known = [
            "postgres",
            "s3",
            "webserver",
            "scheduler",
            "dag-processor",
            "triggerer",
            "init",
            "backend",
            "gateway",
            "dashboard",
        ]
        assert set(known) <= services.keys()
        assert services["broker"]["profiles"] == services["worker"]["profiles"] == ["scale"]
        assert {name for name, each in services.items() if each.get("profiles") == ["monitoring"]} == {
            "metrics", "prometheus", "alertmanager", "grafana",
        }  # fmt: skip

    def test_every_service_is_limited_logged_restarted_and_watched(self, services: dict[str, dict]) -> None:
        for name, service in services.items():
            assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
            assert service["logging"]["options"]["max-size"] == "10m", name
            assert service["restart"] == ("no" if name == "init" else "unless-stopped"), name
            assert "no-new-privileges:true" in service["security_opt"], name
            # init ends, and the watchdog is watched from outside.
            assert "healthcheck" in service or name in {"init", "watchdog"}, name

    def test_nothing_listens_beyond_loopback(self, services: dict[str, dict]) -> None:
        ports = [port for service in services.values() for port in service.get("ports", [])]
        assert len(ports) >= 4
        assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
        # Many backends share a port that one gateway holds.
        assert "ports" not in services["backend"]

    def test_volumes_are_named_and_images_are_pinned(self, services: dict[str, dict]) -> None:
        named = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"].keys()
        mounted = [each.split(":")[0] for service in services.values() for each in service.get("volumes", [])]
        assert [each for each in mounted if not each.startswith("./") and each not in named] == []
        assert [each for each in mounted if each.startswith("./") and not (REPOSITORY / each).exists()] == []
        images = [service["image"] for service in services.values()]
        assert [image for image in images if image.endswith(":latest") or ":" not in image] == []


class TestTheNames:
    def test_every_setting_reaches_a_container(self, services: dict[str, dict]) -> None:
        handed_over = {name for service in services.values() for name in environment(service)}
        plain = FIELDS.keys() - SECRETS
        assert plain - handed_over == set()
        assert SECRETS - {name.removesuffix("_FILE") for name in handed_over if name.endswith("_FILE")} == set()

    def test_every_name_that_is_handed_over_is_a_setting(self, services: dict[str, dict]) -> None:
        known = FIELDS.keys() | {f"{name}_FILE" for name in SECRETS} | READ_BY_DBT | OTHERS
        for name in OURS:
            unknown = {each for each in environment(services[name]) if not each.startswith("AIRFLOW__")} - known
            assert unknown == set(), name

    def test_secrets_are_files_that_are_mounted_where_they_are_looked_for(self, services: dict[str, dict]) -> None:
        for name, service in services.items():
            values = environment(service)
            assert SECRETS & values.keys() == set(), name
            for variable, path in values.items():
                if variable.removesuffix("_FILE") in SECRETS:
                    assert path == f"/run/secrets/{Path(path).name}", name
                    assert Path(path).name in service["secrets"], name

    def test_start_sh_makes_every_secret_that_compose_asks_for(self) -> None:
        asked = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["secrets"]
        assert asked.keys() == SECRETS
        assert asked.keys() - GENERATED.keys() == {"WATCHDOG_WEBHOOK_URL"}

    def test_the_api_gets_no_secret_but_its_own(self, services: dict[str, dict]) -> None:
        own = {name for name in SECRETS if name.startswith("API_")} - {"API_CLIENT_SECRET"}
        # It starts runs in Airflow, and puts uploads into the bucket.
        own |= {"AIRFLOW_ADMIN_PASSWORD", "AWS_SECRET_ACCESS_KEY"}
        assert set(services["backend"]["secrets"]) == own

    def test_the_dashboard_knows_where_the_api_is_and_nothing_else(self, services: dict[str, dict]) -> None:
        """Who opens it logs in: it holds no secret, and reaches neither database nor bucket."""
        assert environment(services["dashboard"]).keys() == {"API_BASE_URL", "DASHBOARD_PORT"}
        assert "secrets" not in services["dashboard"]
        assert "volumes" not in services["dashboard"]


class TestTheDockerfiles:
    @pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
    def test_lint_clean(self, program: Run, dockerfile: Path) -> None:
        checked = program("hadolint", "--failure-threshold", "style", dockerfile)
        assert checked.returncode == 0, checked.stdout

    @pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
    def test_copy_what_is_there_and_end_as_nobody(self, dockerfile: Path) -> None:
        text = dockerfile.read_text(encoding="utf-8")
        final = text.split("\nFROM ")[-1]
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE):
            *sources, _ = [word for word in line.split() if not word.startswith("--")]
            assert [source for source in sources if not (REPOSITORY / source).exists()] == []
        assert re.findall(r"^USER (\w+)", final, flags=re.MULTILINE)[-1] == "50000"
        # Nothing that builds or installs is in what runs.
        assert not re.search(r"\b(apt-get|pip|uv sync|gcc)\b", final)

    def test_take_the_locked_versions(self) -> None:
        lock = (REPOSITORY / "uv.lock").read_text(encoding="utf-8")
        version = re.findall(r'name = "apache-airflow"\nversion = "([\d.]+)"', lock)[0]
        assert f"BASE_IMAGE=apache/airflow:{version}-python" in DOCKERFILES[0].read_text(encoding="utf-8")
        for dockerfile in DOCKERFILES:
            assert f"uv=={fetch_uv.VERSION}" in dockerfile.read_text(encoding="utf-8")

    def test_no_secret_goes_to_the_engine(self) -> None:
        ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert "*" in ignored
        assert not {"!.env", "!.medilink", "!.git"} & set(ignored)

    @pytest.mark.parametrize(
        ("dockerfile", "copied", "works"),
        [
            (
                "backend/Dockerfile",
                ["backend", "elt"],
                "import backend.app, granian",
            ),
            (
                "dashboard/Dockerfile",
                ["dashboard"],
                "import dashboard.__main__, dashboard.app; assert dashboard.__main__.cli",
            ),
            (
                "Dockerfile",
                ["elt", "local", "deployment", "airflow", "dbt"],
                (
                    "import runpy, airflow.providers.celery, dbt.adapters.postgres, elt.cli, local.docker;"
                    "runpy.run_path('deployment/prepare.py', run_name='read');"
                    "runpy.run_path('deployment/airflow_environment.py', run_name='read');"
                    "import sys; sys.path.insert(0, 'airflow/dags');"
                    "import medilink_etl_pipeline, bed_occupancy_pipeline"
                ),
            ),
        ],
    )
    def test_the_install_step_gives_what_the_image_runs(
        self, uv: str, tmp_path: Path, dockerfile: str, copied: list[str], works: str
    ) -> None:
        """The image's own `uv sync`, into a folder of its own; then what is copied is imported with it."""
        text = (REPOSITORY / dockerfile).read_text(encoding="utf-8").replace("\\\n", " ")
        step = shlex.split(re.findall(r"^RUN (/opt/uv/bin/uv sync .*)$", text, flags=re.MULTILINE)[0])
        # The cache of this machine in place of none: what is installed is the same.
        arguments = [word for word in step[1:] if word not in {"--no-cache", "--compile-bytecode"}]
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(REPOSITORY / name, tmp_path)
        for name in copied:
            shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        variables = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"), "UV_PYTHON_DOWNLOADS": "never"}
        # The machine's own certificates: a proxy of the house may be among them.
        step = [uv, *arguments, "--quiet", "--no-config", "--system-certs"]
        subprocess.run(step, cwd=tmp_path, env=os.environ | variables, check=True)
        home = {
            "AIRFLOW_HOME": str(tmp_path / "airflow-home"),
            "PYTHONPATH": str(tmp_path),
            "MEDILINK_ENV_FILE": "none",
        }
        ran = subprocess.run(
            [tmp_path / "venv/bin/python", "-c", works],
            cwd=tmp_path,
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]


def test_airflow_and_dbt_get_their_secrets_whatever_is_in_them(tmp_path: Path) -> None:
    """What deployment/with-secrets evaluates, by a shell as it does."""
    password = """it's a "pass"word $(touch /tmp/x) \\ `ls` % @ / 🔑"""
    (tmp_path / "secret").write_text(password, encoding="utf-8")
    names = "POSTGRES_PASSWORD AIRFLOW_DB_PASSWORD AIRFLOW_ADMIN_PASSWORD AWS_SECRET_ACCESS_KEY AIRFLOW_FERNET_KEY"
    variables = {f"{name}_FILE": str(tmp_path / "secret") for name in names.split()}
    script = REPOSITORY / "deployment" / "airflow_environment.py"
    dump = "import json, os; print(json.dumps(dict(os.environ)))"
    ran = subprocess.run(
        ["bash", "-c", f'set -euo pipefail; e=$("$0" -P {script}); eval "$e"; exec "$0" -c "$1"', sys.executable, dump],
        env=variables
        | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "MEDILINK_ENV_FILE": "none"}
        | {"AWS_ACCESS_KEY_ID": "key", "POSTGRES_HOST": "postgres", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    given = json.loads(ran.stdout)
    assert given["POSTGRES_PASSWORD"] == given["AIRFLOW__CORE__FERNET_KEY"] == password
    assert json.loads(given["AIRFLOW_CONN_MEDILINK_POSTGRES"])["password"] == password
    assert json.loads(given["AIRFLOW_CONN_MEDILINK_S3"])["password"] == password
    assert sqlalchemy.make_url(given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).password == password


def test_start_sh_docker_says_what_is_missing(tmp_path: Path) -> None:
    """Without docker on PATH nothing is started, and no secret is made."""
    environment_file = tmp_path / ".env"
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "local.docker"],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "MEDILINK_ENV_FILE": str(environment_file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "docker compose is not there" in ran.stderr
    assert not environment_file.exists()


def test_start_sh_docker_hands_over_to_compose_with_every_secret(tmp_path: Path) -> None:
    told = tmp_path / "told"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/bash\necho "$@" >>{told}\n', encoding="utf-8")
    docker.chmod(0o755)
    environment_file = tmp_path / ".env"
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "local.docker", "ps"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "MEDILINK_ENV_FILE": str(environment_file),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert told.read_text().splitlines()[-1] == f"compose --env-file {environment_file} ps"
    assert [name for name in GENERATED if f"\n{name}=" not in environment_file.read_text()] == []
