"""Print, as shell exports, what Airflow and dbt take from secrets: connections, keys, the database's address.

Airflow knows no files for its connections, and dbt none for its password; the settings do (`NAME_FILE`).
"""

from __future__ import annotations

import json
import shlex
import sys
import urllib.parse
from pathlib import Path

from local.airflow import DATABASE, bucket_connection, warehouse_connection
from local.environment import ServiceSettings

PASSWORDS = Path("/tmp/airflow-passwords.json")  # noqa: S108 - the container's own, and gone with it


def variables(settings: ServiceSettings) -> dict[str, str]:
    """Names and values; `PASSWORDS` is where the log-in page finds the password of `admin`."""
    password = urllib.parse.quote(settings.airflow_db_password.get_secret_value(), safe="")
    database = f"airflow:{password}@{settings.postgres_host}:{settings.postgres_port}/{DATABASE}"
    tls = f"?sslmode={settings.postgres_sslmode}"
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}{tls}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}{tls}",
        "AIRFLOW__CORE__FERNET_KEY": settings.airflow_fernet_key.get_secret_value(),
        "AIRFLOW__API__SECRET_KEY": settings.airflow_secret_key.get_secret_value(),
        "AIRFLOW__API_AUTH__JWT_SECRET": settings.airflow_jwt_secret.get_secret_value(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
        "AIRFLOW_CONN_MEDILINK_POSTGRES": json.dumps(warehouse_connection(settings)),
        "AIRFLOW_CONN_MEDILINK_S3": json.dumps(bucket_connection(settings)),
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
    }


if __name__ == "__main__":
    settings = ServiceSettings()
    PASSWORDS.touch(mode=0o600)
    PASSWORDS.write_text(json.dumps({"admin": settings.airflow_admin_password.get_secret_value()}), encoding="utf-8")
    sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables(settings).items())
