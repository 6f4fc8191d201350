"""`./start.sh --docker`: the secrets are made in `.env` as for any start, then docker compose takes over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from elt.settings import REPOSITORY
from local.environment import complete, env_file


def main() -> None:
    """Become `docker compose`, with what the command line gave (default: up --build)."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        sys.exit("docker compose is not there. Install it, or leave out --docker: Python will do.")
    complete(env_file())
    # A secret that nobody has to set; compose asks for every one by name.
    os.environ.setdefault("WATCHDOG_WEBHOOK_URL", "")
    os.chdir(REPOSITORY)
    arguments = sys.argv[1:] or ["up", "--build"]
    os.execv(docker, [docker, "compose", "--env-file", str(env_file()), *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
