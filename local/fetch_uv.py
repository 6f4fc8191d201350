"""Put the pinned uv below the folder given as the only argument, and print its path; standard library only.

Run by `start.sh` before there is an environment, with whatever Python the machine has. The wheel comes from PyPI, or
from the index that PIP_INDEX_URL names, and is unpacked only if it is the very file that was pinned.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import os
import platform
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.8"
# Wheel and SHA-256 per system and machine; on Linux the wheels run on glibc and, where named so, on musl.
WHEELS = {
    ("Linux", "x86_64", "glibc"): (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("Linux", "x86_64", "musl"): (
        "musllinux_1_1_x86_64",
        "29451c60f5e8b07403e0a175d5229efc36b0289b34143ff4aaa499a5dd52553a",
    ),
    ("Linux", "aarch64", "glibc"): (
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
        "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
    ),
    ("Linux", "aarch64", "musl"): (
        "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
        "0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d",
    ),
    ("Darwin", "x86_64", ""): (
        "macosx_10_12_x86_64",
        "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    ),
    ("Darwin", "arm64", ""): (
        "macosx_11_0_arm64",
        "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    ),
}


def fetch(folder: Path) -> Path:
    """The uv binary below `folder`, fetched unless it is there. Exits with a message when it cannot be had."""
    uv = folder / f"uv-{VERSION}" / "uv"
    if uv.exists():
        return uv
    system = platform.system()
    libc = (platform.libc_ver()[0] or "musl") if system == "Linux" else ""
    key = (system, platform.machine(), libc)
    if key not in WHEELS:
        sys.exit(f"There is no pinned uv for {' '.join(key)}. Use Linux or macOS on x86_64 or arm64.")
    tag, sha256 = WHEELS[key]
    wheel = f"uv-{VERSION}-py3-none-{tag}.whl"
    index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page = f"{index.rstrip('/')}/uv/"
    try:
        listing = _get(page).decode()
        link = re.search(rf'href="([^"]*/)?{re.escape(wheel)}(#[^"]*)?"', listing)
        if not link:
            sys.exit(f"{page} does not list {wheel}. Point PIP_INDEX_URL to an index that has it.")
        content = _get(urllib.parse.urljoin(page, html.unescape(link[0][6:-1])))
    except (OSError, ValueError) as error:
        host = urllib.parse.urlsplit(page).hostname
        sys.exit(
            f"Cannot fetch uv from {host}: {error}. Check the network; behind a proxy or a private index set "
            "HTTPS_PROXY, PIP_INDEX_URL, PIP_CERT."
        )
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(
            f"{wheel} is not the file that was pinned (its SHA-256 differs). Check the index; nothing was unpacked."
        )
    uv.parent.mkdir(parents=True, exist_ok=True)
    unfinished = uv.with_name(f"uv.{os.getpid()}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unfinished.write_bytes(archive.read(f"uv-{VERSION}.data/scripts/uv"))
    unfinished.chmod(0o755)
    unfinished.replace(uv)
    return uv


def _get(url: str) -> bytes:
    """The body behind `url`; a log-in in the address is sent as basic authentication, as pip does."""
    parts = urllib.parse.urlsplit(url)
    headers = {"User-Agent": "medilink", "Accept": "text/html"}
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    trust = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60, context=trust) as response:
        body: bytes = response.read()
    return body


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1])))
