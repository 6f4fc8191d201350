"""The application's settings, for whoever answers a request, and the place that a server's workers share."""

from __future__ import annotations

import os
from pathlib import Path

from flask import current_app

from elt.settings import Settings


def settings() -> Settings:
    """What the application was made with."""
    found: Settings = current_app.extensions["medilink_settings"]
    return found


# Where prometheus_client looks for it, too.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def shared_folder() -> Path | None:
    """Folder of what the workers of one server count together; None where a process is a server by itself."""
    folder = os.environ.get(SHARED_FOLDER)
    return Path(folder) if folder else None
