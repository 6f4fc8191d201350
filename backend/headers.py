"""Headers that keep answers out of caches, frames and other sites' hands, and whose forwarded headers are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from elt.settings import Settings

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# What a page of an allowed origin may send, and what of the answer it may read.
CORS_METHODS = "GET, POST, PUT, PATCH, DELETE"
CORS_REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match"
CORS_ANSWER_HEADERS = "ETag, Link, Location, Retry-After, X-Total-Count"


def secure(app: Flask, settings: Settings) -> None:
    """Set them on every answer; a page that needs scripts brings a Content-Security-Policy of its own."""
    origins = {origin.strip().rstrip("/") for origin in settings.api_cors_origins.split(",")} - {""}
    _believe_proxies(app, settings)

    @app.before_request
    def answer_preflight() -> Response | None:
        """A browser asks, without a token, whether a page of another origin may send a request."""
        if request.method != "OPTIONS" or request.headers.get("Origin") not in origins:
            return None
        headers = {
            "Access-Control-Allow-Methods": CORS_METHODS,
            "Access-Control-Allow-Headers": CORS_REQUEST_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return Response(status=204, headers=headers)

    @app.after_request
    def add_headers(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", NOTHING)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        if request.endpoint != "documentation.asset":
            answer.headers["Cache-Control"] = "no-store"
        if request.is_secure:
            answer.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        origin = request.headers.get("Origin")
        if origin in origins:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = CORS_ANSWER_HEADERS
            answer.headers["Vary"] = "Origin"
        else:
            answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return answer


def _believe_proxies(app: Flask, settings: Settings) -> None:
    """Take address and scheme from X-Forwarded-*, if the request comes from a configured proxy; else from nobody."""
    proxies = [
        ipaddress.ip_network(proxy.strip()) for proxy in settings.api_trusted_proxies.split(",") if proxy.strip()
    ]
    if not proxies:
        return
    direct = app.wsgi_app
    proxied = ProxyFix(direct, x_for=1, x_proto=1)

    def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        sender = ipaddress.ip_address(environ["REMOTE_ADDR"])
        believed = any(sender in proxy for proxy in proxies)
        return (proxied if believed else direct)(environ, start_response)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
