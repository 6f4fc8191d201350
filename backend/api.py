"""The application as a server calls it: how a request finds its route, how an answer leaves, what a failure logs.

Flask asks more of each request than routes that need no host, views that are no coroutines and answers that are whole;
here that is left out.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cached_property
from http import HTTPStatus
from types import TracebackType
from typing import Any, cast
from wsgiref.types import StartResponse

from flask import Request, Response
from flask_openapi3.openapi import OpenAPI
from werkzeug.routing import MapAdapter, Rule
from werkzeug.wsgi import ClosingIterator

from backend.context import this_request


class Answer(Response):
    """An answer that leaves in one piece: granian hands a list over at once, all else to a thread, bit by bit."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if self.status_code == HTTPStatus.OK and environ["REQUEST_METHOD"] == "GET" and self.is_sequence:
            # Headers and body are as they were set; werkzeug would go through both again.
            start_response(self.status, self.headers.to_wsgi_list())
            return [self.get_data()]
        with closing(cast("ClosingIterator", super().__call__(environ, start_response))) as pieces:
            return [b"".join(pieces)]


class Api(OpenAPI):
    """The application; its log tells where something failed, never with which values."""

    response_class = Answer

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is: none here is a coroutine, and Flask would look at a dozen in each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds a request's route, by path and method; None where it is found already.

        Flask would parse the host, too, twice, and look for every route piece by piece. There is no `url_for`:
        addresses in answers are relative to the host, which nothing here needs to know.
        """
        if request is None:
            return super().create_url_adapter(None)
        if rule := self._fixed_rules.get((request.method, request.path)):
            request.url_rule, request.view_args = rule, {}
            return None
        return MapAdapter(self.url_map, "", "", "", request.scheme, request.path, request.method)

    @cached_property
    def _fixed_rules(self) -> dict[tuple[str, str], Rule]:
        """Rules whose path takes no parameter, by method and path; Flask itself answers OPTIONS."""
        rules = [rule for rule in self.url_map.iter_rules() if not rule.arguments]
        return {(method, rule.rule): rule for rule in rules for method in (rule.methods or set()) - {"OPTIONS"}}

    def log_exception(
        self, exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> None:
        kind, _, trace = exc_info
        self.logger.error(
            "%s failed: %s\n%s", this_request().endpoint, kind and kind.__name__, "".join(traceback.format_tb(trace))
        )
