"""The REST API as a supervised process: granian, one worker, no access log (addresses could name patients)."""

from __future__ import annotations

import ipaddress
import sys
from contextlib import suppress

from elt.settings import REPOSITORY
from local.environment import LOOPBACK, LocalSettings, children_environment
from local.supervisor import Service
from local.web import answers


def service(settings: LocalSettings) -> Service:
    """The API on API_HOST:API_PORT."""
    command = [sys.executable, "-P", "-m", "granian", "--interface", "wsgi", "--factory", "backend.app:create_app"]
    options = [
        "--host",
        settings.api_host,
        "--port",
        str(settings.api_port),
        "--workers",
        "1",
        "--blocking-threads",
        "8",
    ]
    limits = ["--no-access-log", "--no-ws", "--workers-kill-timeout", "5"]
    return Service("api", [*command, *options, *limits], children_environment(settings), REPOSITORY, settings.api_port)


def address(settings: LocalSettings) -> str:
    """Where the API is reached from this machine."""
    host = settings.api_host
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            host = LOOPBACK
    return f"http://{host}:{settings.api_port}"


def is_ready(settings: LocalSettings) -> bool:
    """Whether the API and its database answer."""
    return answers(f"{address(settings)}/health")
