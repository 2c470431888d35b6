"""Messages through routes, batch by batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgehub.router import MessageError, Router

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgehub.cli.route.message_lines import Line
    from edgehub.router import Delivery

Outcome = tuple["Mapping[str, str]", "tuple[Delivery, ...]"]
"""Verdicts by route, and deliveries."""


_encode = json.JSONEncoder(ensure_ascii=False).encode


def match_batch(router: Router, batch: Iterable[Line]) -> Iterator[tuple[Line, Outcome | None]]:
    """Every line with its outcome; None for a line that is, or turns out to be, no message."""
    lines = list(batch)
    good = [line for line in lines if line.message is not None]
    try:
        outcomes = _match(router, [line.message for line in good])
    except MessageError:
        # One of them at least is wrong: each by itself tells which.
        outcomes = [_match_one(router, line) for line in good]
    found = dict(zip((line.index for line in good), outcomes, strict=True))
    for line in lines:
        yield line, found.get(line.index)


def _match(router: Router, messages: list[Any]) -> list[Outcome | None]:
    verdicts = router.verdicts_many(messages)
    return list(zip(verdicts, router.match_many(messages), strict=True))


def _match_one(router: Router, line: Line) -> Outcome | None:
    try:
        return router.verdicts(line.message or {}), router.match(line.message or {})
    except MessageError as error:
        line.refuse(str(error))
        return None


def line_as_json(line: Line, outcome: Outcome | None) -> str:
    """One line of output for one line of input."""
    if outcome is None:
        return _encode({"index": line.index, "error": line.error})
    verdicts, deliveries = outcome
    shown = [
        {"endpoint": d.endpoint, "route": d.route, "priority": d.priority, "ttlSecs": d.ttl_secs}
        for d in deliveries
    ]
    return _encode({"index": line.index, "verdicts": verdicts, "deliveries": shown})
