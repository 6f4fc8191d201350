"""The dashboard: `streamlit run dashboard/app.py`. Log-in, pages by role, how old the figures are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import parts, session
from dashboard.api import ApiProblem, LoggedOut, NothingPublished
from dashboard.views import conditions, data_in, facilities, overview, pipeline, quarantine

# Of our own: symbols by name are fetched from their maker by the browser.
ICON = Path(__file__).with_name("icon.svg")
STYLE = """
<style>
    [data-testid="stMainBlockContainer"] { max-width: 1280px; padding-top: 2.2rem; }
    [data-testid="stMetric"] { background: #f2f5f8; border-radius: .5rem; padding: .8rem 1rem; }
    [data-testid="stMetricValue"] { font-weight: 700; }
    a:focus-visible, button:focus-visible, [role="tab"]:focus-visible { outline: 3px solid #e69f00 !important; }
</style>
"""


def pages(visitor: session.Visitor) -> dict[str, list[st.Page]]:
    """Every page; those that the role has nothing on are left out of the menu, and say so when they are opened."""

    def page(module: object, title: str, icon: str, *operations: str, default: bool = False) -> st.Page:
        return st.Page(
            module.show,  # type: ignore[attr-defined]
            title=title,
            icon=f":material/{icon}:",
            url_path=module.__name__.rpartition(".")[2],  # type: ignore[attr-defined]
            default=default,
            visibility="visible" if default or any(map(visitor.can, operations)) else "hidden",
        )

    return {
        "See": [
            page(overview, "Overview", "monitoring", default=True),
            page(facilities, "Organisations & facilities", "local_hospital", "facilities.list_facilities"),
            page(conditions, "Conditions & triage", "stethoscope", "analytics.top_conditions"),
        ],
        "Feed and watch": [
            page(data_in, "Data in", "upload_file", "pipeline.upload_file"),
            page(pipeline, "Pipeline", "account_tree", "pipeline.list_runs"),
            page(quarantine, "Quarantine", "rule", "quarantine.list_entries"),
        ],
    }


def log_in_form() -> None:
    """Ask for a client's name and secret, or for a token."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title("Medilink", anchor=False)
        st.markdown("Log in with a client of the API. What you will see follows from its role.")
        with st.form("log-in"):
            client_id = st.text_input("Client", key="log-in-client", autocomplete="username")
            secret = st.text_input("Secret", type="password", key="log-in-secret", autocomplete="current-password")
            st.markdown("or")
            token = st.text_input("Token", type="password", key="log-in-token", help="as `medilink token` prints it")
            is_sent = st.form_submit_button("Log in", type="primary", width="stretch")
        if is_sent:
            try:
                session.log_in(client_id or "", secret or "", token or "")
            except LoggedOut:
                st.error(
                    "**That is no client's name and secret, nor a token that still holds.**", icon=":material/key_off:"
                )
            except ApiProblem as problem:
                st.error(str(problem), icon=":material/cloud_off:")
            else:
                st.rerun()
        st.caption(
            "After `./start.sh` there is the client `local-admin`; its secret is API_CLIENT_SECRET in `.env`."
            " Others: `medilink client create NAME --role ROLE`. The token stays in this session, an hour at most."
        )


def sidebar(visitor: session.Visitor) -> None:
    """Who is logged in, what that means, and how old the figures are."""
    with st.sidebar:
        st.markdown(f"**{visitor.client_id}**  \nrole {visitor.role}")
        if visitor.facility_ids:
            st.markdown(f"facilities {', '.join(map(str, visitor.facility_ids))}")
        if visitor.sees_rounded:
            st.markdown("Counts are rounded to 5; 1 to 7 are not shown.")
        try:
            st.markdown(f"Figures as of  \n**{parts.when(session.as_of())}**")
        except NothingPublished:
            st.markdown("No figures published yet")
        if visitor.is_local:
            st.button("Log in as somebody else", on_click=session.ask_to_log_in, width="stretch")
        else:
            st.button("Log out", on_click=session.log_out, width="stretch")


def main() -> None:
    """One page, for whoever is logged in."""
    st.set_page_config(page_title="Medilink", page_icon=str(ICON), layout="wide")
    st.html(STYLE)
    with parts.guarded():
        visitor = session.visitor()
        if visitor is None:
            st.navigation([st.Page(log_in_form, title="Medilink", default=True)], position="hidden").run()
            return
        found = pages(visitor)
        st.session_state["pages"] = {page.url_path or "overview": page for group in found.values() for page in group}
        page = st.navigation(found)
        sidebar(visitor)
        with parts.guarded():
            page.run()


main()
