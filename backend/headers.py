"""Headers that keep answers out of caches, frames and other sites' hands."""

from __future__ import annotations

from flask import Flask, Response, request

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def secure(app: Flask) -> None:
    """Set them on every answer; a page that needs scripts brings a Content-Security-Policy of its own."""

    @app.after_request
    def add_headers(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", NOTHING)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if request.endpoint != "documentation.asset":
            answer.headers["Cache-Control"] = "no-store"
        return answer
