"""Every setting of the pipeline, read once, at the edge: environment first, then `.env`, then the default.

Each secret may also be given as a file: `POSTGRES_PASSWORD_FILE=/run/secrets/pg` stands for `POSTGRES_PASSWORD`.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from elt.vocabulary import Input

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The names users of the original system know (`POSTGRES_*`, `S3_*`, `AWS_*`), plus where the services listen."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("MEDILINK_ENV_FILE", REPOSITORY / ".env"), extra="ignore", env_ignore_empty=True
    )

    postgres_host: str = Field("127.0.0.1", description="host name or address of PostgreSQL, without http://")
    postgres_port: int = Field(54329, ge=1, le=65535, description="port of PostgreSQL")
    postgres_user: str = Field("medilink", description="log-in of the pipeline: member of loader and transformer")
    postgres_password: SecretStr = Field(SecretStr(""), description="password of POSTGRES_USER")
    postgres_db: str = Field("medilink", description="database of the warehouse")
    postgres_sslmode: str = Field("prefer", description="libpq sslmode; verify-full for anything but loopback")

    s3_bucket_name: str = Field("medilink-drops", description="bucket that hospitals drop files into")
    s3_input_prefix: str = Field("medical_records/input/", description="where drops arrive")
    s3_nhs_prefix: str = Field("nhs_uploads/", description="where returns of NHS England arrive")
    s3_archive_prefix: str = Field("medical_records/archive/", description="where claimed bytes are kept for good")
    aws_access_key_id: str | None = Field(None, description="leave empty on AWS: the instance role is used")
    aws_secret_access_key: SecretStr | None = Field(None, description="secret of AWS_ACCESS_KEY_ID")
    aws_region: str = Field("eu-west-1", description="region of the bucket")
    aws_endpoint_url: str | None = Field(None, description="S3 endpoint other than AWS, e.g. http://127.0.0.1:9000")

    nhs_url_hosts: str = Field(
        "www.england.nhs.uk,files.digital.nhs.uk",
        description="hosts that returns are fetched from when somebody names their address, comma-separated",
    )

    api_host: str = Field("127.0.0.1", description="address the REST API listens on")
    api_port: int = Field(5000, ge=1, le=65535, description="port of the REST API")
    api_base_url: str | None = Field(None, description="address of the REST API, where that is not API_HOST:API_PORT")
    api_client_id: str = Field("local-admin", description="client that `medilink token` and start.sh use")
    api_client_secret: SecretStr = Field(SecretStr(""), description="secret of API_CLIENT_ID")
    api_signing_keys: SecretStr = Field(
        SecretStr(""),
        description="Ed25519 seeds of the API's tokens, 32 bytes in base64url, comma-separated: the first one signs",
    )
    api_outside_issuer: str | None = Field(None, description="`iss` of an outside issuer whose tokens are accepted")
    api_outside_jwks_file: Path | None = Field(None, description="its public keys, a JWKS; read once, at the start")
    api_cors_origins: str = Field("", description="origins whose pages may call the API, comma-separated")
    api_trusted_proxies: str = Field("", description="addresses of proxies whose X-Forwarded-* are believed")
    api_rate_limit: str = Field("100/second", description="requests that one client may make")
    api_rate_limit_storage: str = Field("memory://", description="where they are counted; redis://… for many servers")
    api_postgres_user: str = Field(
        "medilink_api", description="database log-in of the API: member of api_read, api_read_all and api_write"
    )
    api_postgres_password: SecretStr = Field(SecretStr(""), description="password of API_POSTGRES_USER")

    airflow_port: int = Field(8088, ge=1, le=65535, description="port of Airflow's api-server")
    airflow_base_url: str | None = Field(
        None, description="address of Airflow, where that is not 127.0.0.1:AIRFLOW_PORT"
    )
    airflow_admin_password: SecretStr = Field(SecretStr(""), description="password of Airflow's user admin")
    flow_run_timeout: int = Field(3600, ge=1, description="seconds until a watched run counts as stuck")

    staging_retention_days: int = Field(7, ge=0, description="days that staged rows of promoted files are kept")
    research_pseudonym_key: SecretStr = Field(
        SecretStr(""), description="key of the pseudonyms in schema research, 32 characters or more"
    )

    watchdog_webhook_url: SecretStr | None = Field(None, description="where the watchdog complains, as {'text': …}")
    watchdog_cloudwatch: str | None = Field(
        None,
        description="namespace/environment of the watchdog's metrics in CloudWatch, e.g. Medilink/medilink-production",
    )

    medilink_home: Path = Field(REPOSITORY / ".medilink", description="folder of all state: database, bucket, logs")
    dbt_executable: str | None = Field(None, description="dbt to call; default: the one beside this Python")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, field in cls.model_fields.items():
            path = os.environ.get(f"{name.upper()}_FILE")
            if path and "SecretStr" in str(field.annotation):
                try:
                    content = Path(path).read_text(encoding="utf-8").strip()
                except OSError as error:
                    raise ValueError(
                        f"{name.upper()}_FILE: cannot read {path} ({error.strerror}). "
                        f"Point it to a readable file, or set {name.upper()} itself."
                    ) from None
                if content:
                    values[name] = content
        return values

    @field_validator("postgres_host")
    @classmethod
    def _host_is_no_url(cls, host: str) -> str:
        if "://" in host or "/" in host:
            raise ValueError("a host name or address, without http:// and without a path, e.g. 127.0.0.1")
        return host

    @field_validator("api_cors_origins")
    @classmethod
    def _no_origin_is_everybody(cls, origins: str) -> str:
        if "*" in origins:
            raise ValueError("origins one by one, e.g. https://dashboard.example.org; * would be everybody")
        return origins

    @model_validator(mode="after")
    def _outside_issuer_is_whole(self) -> Settings:
        if (self.api_outside_issuer is None) != (self.api_outside_jwks_file is None):
            raise ValueError("API_OUTSIDE_ISSUER and API_OUTSIDE_JWKS_FILE go together: set both, or neither")
        return self

    @model_validator(mode="after")
    def _no_plain_text_by_accident(self) -> Settings:
        if self.postgres_sslmode in {"allow", "prefer"} and _is_elsewhere(self.postgres_host):
            raise ValueError(
                f"POSTGRES_SSLMODE={self.postgres_sslmode} goes on in plain text where the server offers no TLS. For a "
                "POSTGRES_HOST on another machine set verify-full (PGSSLROOTCERT names the authorities), or, where the "
                "network itself is trusted, disable"
            )
        return self

    @property
    def nhs_hosts(self) -> tuple[str, ...]:
        """The hosts of NHS_URL_HOSTS."""
        return tuple(host.strip().lower() for host in self.nhs_url_hosts.split(",") if host.strip())

    @property
    def api_address(self) -> str:
        """Where clients on this machine reach the API, without a slash at the end."""
        return (self.api_base_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")

    @property
    def airflow_address(self) -> str:
        """Where the API reaches Airflow, without a slash at the end."""
        return (self.airflow_base_url or f"http://127.0.0.1:{self.airflow_port}").rstrip("/")

    @field_validator("aws_endpoint_url")
    @classmethod
    def _endpoint_is_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("an address with its scheme, e.g. http://127.0.0.1:9000")
        return url

    @field_validator("watchdog_webhook_url")
    @classmethod
    def _webhook_is_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("an address with its scheme, e.g. https://hooks.example.org/…")
        return url

    @field_validator("watchdog_cloudwatch")
    @classmethod
    def _metrics_have_an_environment(cls, place: str | None) -> str | None:
        if place is not None and len(place.split("/")) != 2:
            raise ValueError("a namespace and an environment, e.g. Medilink/medilink-production")
        return place

    @field_validator("s3_input_prefix", "s3_nhs_prefix", "s3_archive_prefix")
    @classmethod
    def _prefix_ends_with_slash(cls, prefix: str) -> str:
        return f"{prefix.strip('/')}/".lstrip("/")

    @model_validator(mode="after")
    def _prefixes_are_apart(self) -> Settings:
        inputs = {"S3_INPUT_PREFIX": self.s3_input_prefix, "S3_NHS_PREFIX": self.s3_nhs_prefix}
        for name, prefix in inputs.items():
            if self.s3_archive_prefix.startswith(prefix):
                raise ValueError(f"S3_ARCHIVE_PREFIX lies inside {name}: archived files would be taken as drops")
            if prefix.startswith(self.s3_archive_prefix):
                raise ValueError(f"{name} lies inside S3_ARCHIVE_PREFIX: drops would be taken as archived files")
        if self.s3_nhs_prefix.startswith(self.s3_input_prefix) or self.s3_input_prefix.startswith(self.s3_nhs_prefix):
            raise ValueError("S3_NHS_PREFIX and S3_INPUT_PREFIX lie inside one another: files would be taken as both")
        return self

    @property
    def input_prefixes(self) -> dict[Input, str]:
        """Where files arrive."""
        return {Input.MEDILINK: self.s3_input_prefix, Input.NHS: self.s3_nhs_prefix}


def _is_elsewhere(host: str) -> bool:
    """Whether the host is another machine: not loopback, a socket or a container's name, which has no dot."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." in host
