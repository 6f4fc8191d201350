"""The request being answered, and what is kept for it, themselves.

To look through one of Flask's proxies costs as much as all that a short function does with what it sees there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Request, g, request

# Documented for just this, in spite of its name.
this_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]  # noqa: SLF001
"""What `flask.request` stands for."""

kept: Callable[[], Any] = g._get_current_object  # noqa: SLF001
"""What `flask.g` stands for."""
