"""`medilink client …`: applications that may use the API, and tokens for them."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Annotated

import typer

from elt import clients, database
from elt.cli.output import AsJson, show
from elt.settings import Settings
from elt.vocabulary import Role

app = typer.Typer(help="Clients of the REST API: role, facilities, secrets.", no_args_is_help=True)

ClientId = Annotated[str, typer.Argument(help="name of the client: a-z, 0-9, . _ -", metavar="CLIENT")]


@app.command()
def create(
    client_id: ClientId,
    role: Annotated[Role, typer.Option(help="what it may see and do: docs/operations.md, The API")],
    facility: Annotated[list[int] | None, typer.Option(help="id of a facility it is bound to; may be repeated")] = None,
) -> None:
    """Make a client, and print its secret: this once."""
    with database.connect(Settings(), "medilink_owner") as connection:
        try:
            typer.echo(clients.create(connection, client_id, role, facility or []))
        except clients.NotPossible as problem:
            _refuse(problem)


@app.command()
def rotate(client_id: ClientId) -> None:
    """Print a new secret; the old one and its tokens end within seconds."""
    with database.connect(Settings(), "medilink_owner") as connection:
        try:
            typer.echo(clients.rotate(connection, client_id))
        except clients.NotPossible as problem:
            _refuse(problem)


@app.command()
def revoke(client_id: ClientId) -> None:
    """End a client and its tokens, within seconds and for good."""
    with database.connect(Settings(), "medilink_owner") as connection:
        try:
            clients.revoke(connection, client_id)
        except clients.NotPossible as problem:
            _refuse(problem)
    typer.echo(f"{client_id} is revoked")


@app.command(name="list")
def list_clients(as_json: AsJson = False) -> None:
    """All clients, without their secrets."""
    with database.connect(Settings(), "medilink_owner") as connection:
        show(clients.clients(connection), as_json=as_json, nothing="no client yet: medilink client create")


def token() -> None:
    """Print a token of the client API_CLIENT_ID, good for an hour: export API_TOKEN=$(medilink token)."""
    settings = Settings()
    credentials = f"{settings.api_client_id}:{settings.api_client_secret.get_secret_value()}"
    request = urllib.request.Request(  # noqa: S310 - the address is the operator's own setting
        f"{settings.api_address}/api/auth/token",
        data=b"grant_type=client_credentials",
        headers={"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"},
    )
    # The embedded API is on loopback, which no proxy can reach.
    openers = [] if settings.api_base_url else [urllib.request.ProxyHandler({})]
    try:
        with urllib.request.build_opener(*openers).open(request, timeout=30) as answer:
            typer.echo(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        detail = json.load(error)["detail"] if "json" in (error.headers["Content-Type"] or "") else error.reason
        typer.echo(f"No token: {error.code} {detail}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"{settings.api_address} does not answer: {error}. Start it, or set API_BASE_URL.", err=True)
        raise typer.Exit(2) from None


def _refuse(problem: clients.NotPossible) -> None:
    typer.echo(f"Not done: {problem}.", err=True)
    raise typer.Exit(1)
