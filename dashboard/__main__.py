"""`python -m dashboard [options of streamlit run]`: the dashboard as a server.

What pages need is imported before anybody opens one, so that the first page is as quick as the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.web import cli

from dashboard import session
from dashboard.views import conditions, data_in, facilities, overview, pipeline, quarantine  # noqa: F401 - imported early


def main() -> None:
    """Serve until a signal ends it. Raises `ValidationError` for settings that cannot be used."""
    session.settings()
    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
