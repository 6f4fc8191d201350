"""Rate limits: per client for those who have a token, per address for everybody else."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from flask_limiter import Limiter, RequestLimit

from backend.problems import ProblemType, problem
from elt.settings import Settings

# Pages, health, and refusals; and guesses at secrets, each of which costs an argon2id hash.
STRANGERS = "600 per minute"
GUESSES = "30 per minute"
# Each makes the pipeline run, or fetch something from outside.
STARTS = "30 per minute"


def limit(app: Flask, settings: Settings, guesses: Callable[[], bool]) -> None:
    """Count requests in the configured store; while that is away, in this process's memory.

    It asks who the caller is: a request must have been identified (`g.caller`) before. `guesses` says whether the
    request is a guess at a secret.
    """

    def allowed() -> str:
        if guesses():
            return GUESSES
        if g.caller and request.endpoint in {"nhs_data.trigger_pipeline", "nhs_data.upload_return"}:
            return STARTS
        return settings.api_rate_limit if g.caller else STRANGERS

    Limiter(
        _who,
        app=app,
        application_limits=[allowed],
        storage_uri=settings.api_rate_limit_storage,
        in_memory_fallback_enabled=True,
        on_breach=_refused,
    )


def _who() -> str:
    return f"client {g.caller.name}" if g.caller else f"address {request.remote_addr}"


def _refused(breached: RequestLimit) -> Response:
    return problem(
        ProblemType.TOO_MANY_REQUESTS,
        "More requests than one client may send. Wait as long as Retry-After says, in seconds.",
        headers={"Retry-After": str(max(1, breached.reset_at - int(time.time())))},
    )
