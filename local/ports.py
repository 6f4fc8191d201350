"""Whether the services' ports are free, and who has them where they are not."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import psutil

from local.environment import LOOPBACK, LocalSettings


class PortTaken(RuntimeError):
    """A service cannot listen where it should."""


def check_ports(settings: LocalSettings) -> None:
    """Raise `PortTaken`, naming port, owner and variable, unless every service can listen on its port."""
    wanted = {
        "API_PORT": (settings.api_host, settings.api_port),
        "AIRFLOW_PORT": (LOOPBACK, settings.airflow_port),
        "S3_PORT": (LOOPBACK, settings.s3_port),
        "POSTGRES_PORT": (LOOPBACK, settings.postgres_port),
        "DASHBOARD_PORT": (LOOPBACK, settings.dashboard_port),
    }
    with ExitStack() as stack:
        for variable, (host, port) in wanted.items():
            twin = next((name for name, (_, other) in wanted.items() if other == port and name != variable), None)
            if twin:
                raise PortTaken(f"{variable} and {twin} are both {port}. Set one of them in .env to another port.")
            try:
                probe = stack.enter_context(
                    socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
                )
                # Connections of a server that has just stopped do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                probe.listen()
            except PermissionError:
                raise PortTaken(
                    f"port {port} is reserved for root. Set {variable} in .env to a free one above 1023."
                ) from None
            except OSError as error:
                raise PortTaken(
                    f"port {port} of {host} is taken{_owner(port)} ({error.strerror}). "
                    f"Set {variable} in .env to a free one."
                ) from None


def _owner(port: int) -> str:
    """` by pid 123, nginx`, or nothing where this user may not know."""
    try:
        for connection in psutil.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:2] == (port,):
                return f" by pid {connection.pid}, {psutil.Process(connection.pid).name()}"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""
    return ""
