"""The `.env` file: every secret is made once, kept from then on, and never printed."""

from __future__ import annotations

import base64
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field, SecretStr, model_validator

from elt.settings import REPOSITORY, Settings

LOOPBACK = "127.0.0.1"


class ServiceSettings(Settings):
    """The pipeline's settings, and those of the services around it: PostgreSQL's superuser, S3, Airflow."""

    s3_port: int = Field(9000, ge=1, le=65535, description="port of the embedded S3 endpoint")
    dashboard_port: int = Field(8501, ge=1, le=65535, description="port of the dashboard")
    postgres_superuser_password: SecretStr = Field(
        SecretStr(""), description="password of the embedded PostgreSQL's user postgres"
    )
    airflow_db_password: SecretStr = Field(SecretStr(""), description="password of the database log-in airflow")
    airflow_fernet_key: SecretStr = Field(SecretStr(""), description="key that encrypts Airflow's connections")
    airflow_jwt_secret: SecretStr = Field(SecretStr(""), description="key that signs Airflow's tokens")
    airflow_secret_key: SecretStr = Field(SecretStr(""), description="key that signs Airflow's sessions")


class LocalSettings(ServiceSettings):
    """The settings of the embedded services."""

    dashboard_log_in: bool = Field(
        default=False, description="whether the dashboard asks for a log-in; if not, it opens as an analyst"
    )

    @model_validator(mode="after")
    def _no_plain_text_by_accident(self) -> LocalSettings:
        """What .env says of a server elsewhere is not for these services."""
        return self

    @model_validator(mode="after")
    def _services_are_the_embedded_ones(self) -> LocalSettings:
        """`start.sh` starts its own PostgreSQL and S3: the pipeline is pointed to these."""
        self.postgres_host = LOOPBACK
        self.aws_endpoint_url = f"http://{LOOPBACK}:{self.s3_port}"
        return self


def _token() -> str:
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


GENERATED: dict[str, Callable[[], str]] = {
    "API_CLIENT_SECRET": _token,
    "API_SIGNING_KEYS": lambda: secrets.token_urlsafe(32),
    "AIRFLOW_ADMIN_PASSWORD": _token,
    "POSTGRES_PASSWORD": _token,
    "API_POSTGRES_PASSWORD": _token,
    "POSTGRES_SUPERUSER_PASSWORD": _token,
    "AIRFLOW_DB_PASSWORD": _token,
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(64),
    "AIRFLOW_SECRET_KEY": _token,
    "RESEARCH_PSEUDONYM_KEY": lambda: secrets.token_hex(32),
    "AWS_ACCESS_KEY_ID": lambda: "MEDILINK" + secrets.token_hex(6).upper(),
    "AWS_SECRET_ACCESS_KEY": _token,
}
# Written so that whoever has to move a service, or runs `medilink` from a shell, finds them.
DEFAULTS = {
    "API_PORT": "5000",
    "AIRFLOW_PORT": "8088",
    "S3_PORT": "9000",
    "POSTGRES_PORT": "54329",
    "DASHBOARD_PORT": "8501",
    "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:${{S3_PORT}}",
}
HEADER = (
    "# Made by ./start.sh. What is here is kept; what is missing is added. Environment variables win over this file.\n"
)


def env_file() -> Path:
    """Where `.env` is: at the root of the checkout, unless MEDILINK_ENV_FILE names another place."""
    return Path(os.environ.get("MEDILINK_ENV_FILE") or REPOSITORY / ".env")


def complete(path: Path) -> None:
    """Make the file at `path`, or add the names it lacks; values that are there stay. Nobody else can read it after.

    A secret that the environment sets, itself or through NAME_FILE, is not written.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    present = {name for name, value in dotenv_values(path, interpolate=False).items() if value}
    for name, value in DEFAULTS.items():
        if name not in present:
            text = _with(text, name, os.environ.get(name) or value)
    for name, make in GENERATED.items():
        if name not in present and not os.environ.get(name) and not os.environ.get(f"{name}_FILE"):
            text = _with(text, name, make())
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".env.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(unfinished).replace(path)


def export(path: Path) -> None:
    """Put every value of `path` into this process's environment, where the environment has none itself."""
    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name):
            os.environ[name] = value


def children_environment(settings: LocalSettings) -> dict[str, str]:
    """What the pipeline and the API are started with: this environment, pointed to the embedded services."""
    # Another profile's or session's rights must not mix with the embedded endpoint's keys, and the server's
    # superuser is nobody's business but the supervisor's.
    left_out = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "POSTGRES_SUPERUSER_PASSWORD"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "MEDILINK_HOME": str(settings.medilink_home),
        "MEDILINK_ENV_FILE": str(env_file()),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "AWS_DEFAULT_REGION": settings.aws_region,
        "AWS_REGION": settings.aws_region,
        "S3_PORT": str(settings.s3_port),
        "NO_PROXY": no_proxy(),
        "no_proxy": no_proxy(),
    }


def no_proxy() -> str:
    """NO_PROXY of children: loopback never goes through a proxy, whatever the caller says about the rest."""
    others = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return ",".join(dict.fromkeys([*filter(None, others.split(",")), LOOPBACK, "localhost"]))


def _with(text: str, name: str, value: str) -> str:
    """`text` with `name` set: in the line that has it empty, as a copy of .env.example does, or at the end."""
    line = f"{name}={value}"
    filled, found = re.subn(rf"^(export )?{name}=[ \t]*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    return filled if found else f"{text.rstrip()}\n{line}\n".lstrip("\n")
