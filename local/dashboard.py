"""The Streamlit dashboard as a supervised process. It knows the API's address and, of all secrets, at most its own."""

from __future__ import annotations

import os
import sys

from elt.settings import REPOSITORY
from local import api
from local.environment import LOOPBACK, LocalSettings, no_proxy
from local.supervisor import Service
from local.web import answers

CLIENT_ID = "local-dashboard"


def service(settings: LocalSettings, secret: str) -> Service:
    """The dashboard on DASHBOARD_PORT of loopback; it opens as the client of that secret, unless a log-in is wanted."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    environment = kept | {
        # Streamlit looks for settings of the user's below HOME.
        "HOME": str(settings.medilink_home),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "API_BASE_URL": api.address(settings),
        "NO_PROXY": no_proxy(),
        "no_proxy": no_proxy(),
    }
    if not settings.dashboard_log_in:
        environment |= {"DASHBOARD_CLIENT_ID": CLIENT_ID, "DASHBOARD_CLIENT_SECRET": secret}
    command = [sys.executable, "-P", "-m", "dashboard"]
    options = ["--server.address", LOOPBACK, "--server.port", str(settings.dashboard_port)]
    return Service("dashboard", [*command, *options], environment, REPOSITORY, settings.dashboard_port)


def address(settings: LocalSettings) -> str:
    """Where the dashboard is reached from this machine."""
    return f"http://{LOOPBACK}:{settings.dashboard_port}"


def is_ready(settings: LocalSettings) -> bool:
    """Whether the dashboard answers."""
    return answers(f"{address(settings)}/_stcore/health")
