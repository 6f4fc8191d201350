"""A taken port is named with its owner and the variable that moves the service."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from local.environment import LocalSettings
from local.ports import PortTaken, check_ports
from local.postgres import free_port


@pytest.fixture
def settings() -> LocalSettings:
    return LocalSettings(
        api_host="127.0.0.1",
        api_port=free_port(),
        airflow_port=free_port(),
        s3_port=free_port(),
        postgres_port=free_port(),
        dashboard_port=free_port(),
    )


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_free_ports_pass(settings: LocalSettings) -> None:
    check_ports(settings)


def test_a_taken_port_is_named(settings: LocalSettings, taken: int) -> None:
    settings.airflow_port = taken
    expected = rf"port {taken} of 127\.0\.0\.1 is taken by pid {os.getpid()}, .*Set AIRFLOW_PORT in \.env to a free one"
    with pytest.raises(PortTaken, match=expected):
        check_ports(settings)


def test_two_services_on_one_port_are_named(settings: LocalSettings) -> None:
    settings.s3_port = settings.api_port
    with pytest.raises(PortTaken, match="API_PORT and S3_PORT are both"):
        check_ports(settings)
