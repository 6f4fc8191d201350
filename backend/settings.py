"""The application's settings, for whoever answers a request."""

from __future__ import annotations

from flask import current_app

from elt.settings import Settings


def settings() -> Settings:
    """What the application was made with."""
    found: Settings = current_app.extensions["medilink_settings"]
    return found
