"""Headers that keep answers out of caches, frames and other sites' hands, and whose forwarded headers are believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, cast
from wsgiref.types import StartResponse

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
    if origins:
        _answer_preflights(app, origins)
    direct = app.wsgi_app

    # Behind Flask, which looks at each header that it sets one by one, and copies all of them.
    def wsgi_app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *failure: Any) -> object:
            return start_response(status, _secured(environ, headers, origins), *failure)

        return direct(environ, cast("StartResponse", start))

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
    _believe_proxies(app, settings)


def _secured(
    environ: Mapping[str, str], headers: list[tuple[str, str]], origins: Container[str]
) -> list[tuple[str, str]]:
    added = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
    if not any(name == "Content-Security-Policy" for name, _ in headers):
        added.append(("Content-Security-Policy", NOTHING))
    # Scripts and pictures of the documentation; all else may be about patients.
    if not environ["PATH_INFO"].startswith("/assets/"):
        headers = [header for header in headers if header[0] != "Cache-Control"]
        added.append(("Cache-Control", "no-store"))
    if environ["wsgi.url_scheme"] == "https":
        added.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin in origins:
        added += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", CORS_ANSWER_HEADERS),
            ("Vary", "Origin"),
        ]
    else:
        added.append(("Cross-Origin-Resource-Policy", "same-origin"))
    return headers + added


def _answer_preflights(app: Flask, origins: Container[str]) -> None:
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
