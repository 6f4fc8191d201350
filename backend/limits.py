"""Rate limits: per client for those who have a token, per address for everybody else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from typing import cast

from flask import Request, Response, current_app
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string

from backend.problems import ProblemType, problem
from backend.settings import shared_folder
from backend.tokens import Caller
from backend.windows import Windows
from elt.settings import Settings

# Pages, health, and refusals; and guesses at secrets, each of which costs an argon2id hash.
STRANGERS = "600 per minute"
GUESSES = "30 per minute"
# Each makes the pipeline run, or fetch something from outside.
STARTS = "30 per minute"
STARTING = frozenset({"nhs_data.trigger_pipeline", "nhs_data.upload_return"})

MEMORY = "memory://"
# A store that does not answer is asked again after so long; until then the server's own memory stands in.
RETRY_SECONDS = 5.0


def limiter(settings: Settings) -> Callable[[Caller | None, Request, bool], Response | None]:
    """What counts a request, by its caller and whether it guesses at a secret, and answers the one that may not pass.

    It counts in the configured store; while that is away, in this server's memory.
    """
    counts = _Counts(settings.api_rate_limit_storage)
    items = cache(parse_many)

    def count(caller: Caller | None, request: Request, is_guess: bool) -> Response | None:
        if is_guess:
            allowed = GUESSES
        elif caller is None:
            allowed = STRANGERS
        else:
            allowed = STARTS if request.endpoint in STARTING else settings.api_rate_limit
        who = f"client {caller.name}" if caller else f"address {request.remote_addr}"
        wait = max([counts.wait(item, who) for item in items(allowed)])
        return _refused(wait) if wait else None

    return count


class _Counts:
    """How often who asked: in the store that machines share, where there is one, else in the server's memory."""

    def __init__(self, address: str) -> None:
        self.own = Windows(shared_folder())
        self.store = (
            None
            if address == MEMORY
            else cast(
                "Storage",
                storage_from_string(address, wrap_exceptions=True, socket_timeout=1, socket_connect_timeout=1),
            )
        )
        self.away_until = 0.0

    def wait(self, item: RateLimitItem, who: str) -> int:
        """Count a request: 0 if it may pass, else in how many seconds the next one may."""
        seconds = item.get_expiry()
        if self.store and time.monotonic() >= self.away_until:
            key = item.key_for(who)
            try:
                if self.store.incr(key, seconds) <= item.amount:
                    return 0
                return max(1, math.ceil(self.store.get_expiry(key) - time.time()))
            except StorageError:
                self.away_until = time.monotonic() + RETRY_SECONDS
                current_app.logger.warning("the store of rate limits does not answer: each server counts its own")
        counted, left = self.own.count(f"{who} {item.amount}/{seconds}", seconds)
        return 0 if counted <= item.amount else max(1, math.ceil(left))


def _refused(seconds: int) -> Response:
    return problem(
        ProblemType.TOO_MANY_REQUESTS,
        "More requests than one client may send. Wait as long as Retry-After says, in seconds.",
        headers={"Retry-After": str(seconds)},
    )
