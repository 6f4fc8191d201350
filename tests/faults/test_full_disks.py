"""Full disks (cases 55, 56): the night fails and says where; with room again the next one ends it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("NO RIGHT TO MOUNT, FULL DISKS NOT TESTED: run as root where tmpfs may be mounted.")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave not a byte."""
    filling = folder / "filling"
    file = os.open(filling, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(file, b"\0" * 4096)
    os.close(file)
    return filling


def test_a_full_work_disk(night, small_disk, undisturbed):
    home = night.warehouse.settings.medilink_home
    home.symlink_to(small_disk)
    filling = fill(small_disk)
    assert night.wait(night.start()) == 1
    assert "dbt could not start" in night.told()
    filling.unlink()
    night.finish()
    assert night.tables() == undisturbed.tables


def test_a_full_database_disk(make_night, small_disk, database_server, undisturbed):
    account = database_server.server.account
    place = small_disk / "space"
    place.mkdir()
    for path in (small_disk, *small_disk.parents):
        if path.stat().st_mode & 0o007 == 0 and path.is_relative_to(tempfile.gettempdir()):
            path.chmod(0o711)
    if account:
        os.chown(place, account.pw_uid, account.pw_gid)
        small_disk.chmod(0o755)
    with database_server.server.connect("postgres") as admin:
        admin.execute(f"create tablespace small location '{place}'")
    night = make_night(tablespace="small")
    try:
        filling = fill(small_disk)
        assert night.wait(night.start()) == 1
        assert "DiskFull" in night.told() or "53100" in night.told()
        filling.unlink()
        night.finish()
        assert night.tables() == undisturbed.tables
        assert night.warehouse.findings() == []
    finally:
        with database_server.server.connect("postgres") as admin:
            admin.execute(f"alter database {night.warehouse.settings.postgres_db} set tablespace pg_default")
            admin.execute("drop tablespace small")
