"""The REST API, as the pages see it: answers, and everything that can go wrong as one exception each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import httpx

TIMEOUT = httpx.Timeout(30.0, connect=3.0)
UPLOAD_TIMEOUT = httpx.Timeout(120.0, connect=3.0)


class ApiProblem(Exception):
    """A request that was not answered as asked; the message is for people, and holds no value of a patient."""


class ApiAway(ApiProblem):
    """Nobody answers, or the API cannot reach what it needs."""


class LoggedOut(ApiProblem):
    """The token ended, was revoked, or never was one."""


class NotAllowed(ApiProblem):
    """The role does not cover it."""


class NothingPublished(ApiProblem):
    """No run has published marts yet."""


class NotFound(ApiProblem):
    """There is no such thing, or it is another facility's."""


class Refused(ApiProblem):
    """The API found the request at fault, and says why."""


@dataclass(frozen=True)
class Api:
    """The API at an address; one pool of connections serves every session."""

    base: str
    client: httpx.Client

    @classmethod
    def at(cls, base: str) -> Api:
        """The API is a neighbour: it is never asked through a proxy."""
        return cls(base.rstrip("/"), httpx.Client(timeout=TIMEOUT, trust_env=False))

    def token(self, client_id: str, secret: str) -> str:
        """A token for a client. Raises `LoggedOut` where there is no such client and secret."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return str(self._send("POST", "/api/auth/token", data=form).json()["access_token"])

    def get(self, token: str, path: str, **parameters: object) -> Any:  # noqa: ANN401 - JSON
        """What a GET answers; parameters that are None are left out."""
        return self._authorised(token, "GET", path, params=_given(parameters)).json()

    def csv(self, token: str, path: str, **parameters: object) -> str:
        """The same as CSV, of a resource that offers it."""
        headers = {"Accept": "text/csv"}
        return self._authorised(token, "GET", path, params=_given(parameters), headers=headers).text

    def newest(self, token: str, path: str, size: int, **parameters: object) -> list[Any]:
        """The last `size` entities of a list that is ordered by id, the newest first."""
        given = _given(parameters)
        counted = self._authorised(token, "GET", path, params={**given, "per_page": 1, "count": "exact"})
        total = int(counted.headers["X-Total-Count"])
        found: list[Any] = []
        page = -(-total // size)
        while page > 0 and len(found) < size:
            answer = self._authorised(token, "GET", path, params={**given, "per_page": size, "page": page})
            found += reversed(answer.json())
            page -= 1
        return found[:size]

    def post(self, token: str, path: str, body: dict[str, object]) -> Any:  # noqa: ANN401 - JSON
        """What a POST of JSON answers; None where it answers nothing."""
        answer = self._authorised(token, "POST", path, json=body)
        return answer.json() if answer.content else None

    def upload(self, token: str, path: str, name: str, content: IO[bytes], **form: str) -> Any:  # noqa: ANN401 - JSON
        """What a POST of a file answers."""
        files = {"file": (name, content, "application/octet-stream")}
        return self._authorised(token, "POST", path, data=form, files=files, timeout=UPLOAD_TIMEOUT).json()

    def _authorised(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), "Authorization": f"Bearer {token}"}
        return self._send(method, path, headers=headers, **options)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self.client.request(method, self.base + path, **options)
        except httpx.HTTPError:
            raise ApiAway(
                f"The API does not answer at {self.base}. Start it (./start.sh), or correct API_BASE_URL."
            ) from None
        if answer.is_success:
            return answer
        raise _problem(answer)


def _given(parameters: dict[str, object]) -> dict[str, Any]:
    # `from` is a word of Python's.
    return {name.rstrip("_"): value for name, value in parameters.items() if value is not None and value != ""}


def _problem(answer: httpx.Response) -> ApiProblem:
    """The exception for an answer that is none, in the API's own words where it has some."""
    try:
        body = answer.json()
        said = str(body.get("detail") or body.get("title") or "")
        faults = [f"{error['pointer'].removeprefix('#/')}: {error['code']}" for error in body.get("errors") or ()]
        kind = str(body.get("type", ""))
    except (ValueError, AttributeError, KeyError):
        said, faults, kind = "", [], ""
    told = " ".join([said, *([f"({'; '.join(faults)})"] if faults else [])]).strip()
    if kind == "/problems/nothing-published":
        return NothingPublished(told)
    kinds = {401: LoggedOut, 403: NotAllowed, 404: NotFound}
    if answer.status_code in kinds:
        return kinds[answer.status_code](told)
    if answer.status_code >= 500 or answer.status_code == 429:
        return ApiAway(told or f"The API answered {answer.status_code}. Try again in a moment.")
    return Refused(told or f"The API answered {answer.status_code}.")
