"""The REST API as a supervised process."""

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
    command = [sys.executable, "-P", "-m", "backend", "--host", settings.api_host, "--port", str(settings.api_port)]
    return Service("api", command, children_environment(settings), REPOSITORY, settings.api_port)


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
