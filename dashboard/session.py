"""Who looks at the dashboard: their token, which stays in this session and nowhere else, and what they may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from pydantic import ValidationError

from dashboard.api import Api, ApiProblem, LoggedOut
from dashboard.settings import LOOPBACK, DashboardSettings


@dataclass(frozen=True)
class Visitor:
    """A logged-in client: `may` names the operations that the API's access matrix opens to their role."""

    token: str
    client_id: str
    role: str
    facility_ids: tuple[int, ...]
    may: dict[str, str]
    is_local: bool
    """whether ./start.sh let them in by itself"""

    def can(self, operation: str) -> bool:
        """Whether the API would answer this operation, e.g. `pipeline.list_runs`."""
        return operation in self.may

    @property
    def sees_rounded(self) -> bool:
        """Whether counts come rounded, without small numbers."""
        return self.may.get("analytics.daily_visits") == "rounded"


@st.cache_resource
def settings() -> DashboardSettings:
    """The settings, read once."""
    return DashboardSettings()


@st.cache_resource
def api() -> Api:
    """The API, with one pool of connections."""
    return Api.at(settings().api_base_url)


def visitor() -> Visitor | None:
    """Who is logged in; lets the local client in by itself where that is set. Raises `ApiProblem`."""
    known: Visitor | None = st.session_state.get("visitor")
    ours = settings()
    # Only on loopback: elsewhere whoever reaches the page would be that client.
    opens_by_itself = ours.dashboard_client_id and st.get_option("server.address") in LOOPBACK
    if known is None and opens_by_itself and not st.session_state.get("wants_to_log_in"):
        token = api().token(ours.dashboard_client_id or "", ours.dashboard_client_secret.get_secret_value())
        known = _enter(token, is_local=True)
    return known


def log_in(client_id: str, secret: str, token: str) -> None:
    """Log in with a client's name and secret, or with a token. Raises `ApiProblem`."""
    _enter(token.strip() or api().token(client_id.strip(), secret), is_local=False)
    st.session_state.pop("wants_to_log_in", None)


def log_out() -> None:
    """Forget the token, and everything else of this session."""
    st.session_state.clear()


def ask_to_log_in() -> None:
    """Show the log-in in place of the pages."""
    st.session_state.clear()
    st.session_state["wants_to_log_in"] = True


def me() -> Visitor:
    """Who is logged in; pages are shown to nobody else."""
    known: Visitor = st.session_state["visitor"]
    return known


def as_of() -> str:
    """When the live marts were published. Raises `ApiProblem`.

    Asked anew each time, so that a revoked token ends here.
    """
    return str(api().get(me().token, "/api/analytics/release")["as_of"])


def fetch(path: str, *, release: str, **parameters: object) -> Any:  # noqa: ANN401 - JSON
    """What the API says of a release; asked once for all who see the same of it. Not for rows about one patient."""
    given = tuple(sorted((name, value) for name, value in parameters.items() if value is not None))
    seen_by = (me().role, me().facility_ids)
    return _fetched(path, given, release, seen_by, _token=me().token)


@st.cache_data(ttl="1h", max_entries=500, show_spinner=False)
def _fetched(
    path: str,
    parameters: tuple[tuple[str, object], ...],
    release: str,  # noqa: ARG001 - what was said of another release does not count
    seen_by: tuple[str, tuple[int, ...]],  # noqa: ARG001 - others see other figures
    _token: str,
) -> Any:  # noqa: ANN401 - JSON
    return api().get(_token, path, **dict(parameters))


def _enter(token: str, *, is_local: bool) -> Visitor:
    told = api().get(token, "/api/auth/me")
    try:
        found = Visitor(
            token, told["client_id"], told["role"], tuple(told["facility_ids"]), dict(told["may"]), is_local
        )
    except (KeyError, TypeError, ValidationError):
        raise ApiProblem("The API is of another version than this dashboard.") from None
    st.session_state["visitor"] = found
    return found


__all__ = ["LoggedOut", "Visitor", "api", "as_of", "ask_to_log_in", "fetch", "log_in", "log_out", "me", "visitor"]
