"""Fetching an image (agent spec 3.1, rows C12, C13)."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeagent.runtime.errors import EngineAnswerError, EngineError, PullError, shortened
from edgeagent.runtime.json_stream import JsonStream
from edgeagent.runtime.registry_auth import auth_header

if TYPE_CHECKING:
    from edgeagent.model.module import RegistryCredentials
    from edgeagent.runtime.engine import Engine

log = logging.getLogger(__name__)

FIRST_S = 300.0
"""Longest wait for a first word. The engine is silent until the registry has answered, or was given up."""
IDLE_S = 600.0
"""Longest pause in the progress. Unpacking a large layer on a slow card says nothing for minutes."""
TOTAL_S = 6 * 3600.0
"""Longest pull: some gigabytes on a bad link."""
LOG_EVERY_S = 15.0
LAYERS_MAX = 1000
"""Layers whose progress is kept; an image has 127 at most."""

_MEGABYTE = 1_000_000
_DONE = ("Pull complete", "Already exists")


@dataclass(slots=True)
class PullProgress:
    """What the messages of a pull say so far. Pure.

    :ivar status: the last message that is about the whole image.
    :ivar error: of the registry or the engine; the pull failed.
    """

    status: str = ""
    error: str | None = None
    _layers: dict[str, tuple[int, int, bool]] = field(default_factory=dict)

    def take(self, message: Mapping[str, Any]) -> None:
        """One object of the stream."""
        error = _error(message)
        if error is not None:
            self.error = error
        status = message.get("status")
        if not isinstance(status, str):
            return
        layer = message.get("id")
        if not isinstance(layer, str):
            self.status = shortened(status)
        elif layer in self._layers or len(self._layers) < LAYERS_MAX:
            self._take_layer(layer, status, message.get("progressDetail"))

    def _take_layer(self, layer: str, status: str, detail: Any) -> None:
        if status.startswith("Pulling from"):
            return
        bytes_done, bytes_all, _ = self._layers.get(layer, (0, 0, False))
        if status == "Downloading" and isinstance(detail, Mapping):
            bytes_done = _count(detail.get("current"), bytes_done)
            bytes_all = _count(detail.get("total"), bytes_all)
        elif status in ("Download complete", "Extracting", *_DONE):
            bytes_done = bytes_all
        self._layers[layer] = (bytes_done, bytes_all, status in _DONE)

    def __str__(self) -> str:
        whole = sum(done for _, _, done in self._layers.values())
        bytes_done = sum(entry[0] for entry in self._layers.values())
        bytes_all = sum(entry[1] for entry in self._layers.values())
        sizes = f", {bytes_done / _MEGABYTE:.1f} of {bytes_all / _MEGABYTE:.1f} MB" if bytes_all else ""
        return f"{whole} of {len(self._layers)} layers{sizes}"


async def pull(
    engine: Engine,
    image: str,
    credentials: RegistryCredentials | None = None,
    on_progress: Callable[[PullProgress], None] | None = None,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> None:
    """Fetches an image, or finds that it is there and current.

    :param image: with tag or digest.
    :param credentials: for its registry, from :func:`~edgeagent.runtime.registry_auth.credentials_for`.
    :param on_progress: called with each message.
    :raises PullError: the engine or the registry refused, or the engine broke off in the middle.
    :raises EngineUnreachable: no engine, or no progress in time.
    """
    log.info("pulling %s", image)
    logged_s = monotonic_s()
    progress = PullProgress()
    async with contextlib.aclosing(_messages(engine, image, credentials)) as messages:
        async for message in messages:
            progress.take(message)
            if on_progress is not None:
                on_progress(progress)
            if monotonic_s() - logged_s >= LOG_EVERY_S:
                logged_s = monotonic_s()
                log.info("pulling %s: %s", image, str(progress))
    if progress.error is not None:
        raise PullError(image, progress.error)
    log.info("pulled %s: %s", image, progress.status or progress)


async def _messages(
    engine: Engine, image: str, credentials: RegistryCredentials | None
) -> AsyncGenerator[dict[str, Any], None]:
    header = auth_header(credentials)
    headers = {"X-Registry-Auth": header} if header else {}
    objects = JsonStream()
    try:
        async with engine.stream(
            "POST", "/images/create", {"fromImage": image}, headers, FIRST_S, IDLE_S, TOTAL_S
        ) as pieces:
            async for piece in pieces:
                for message in objects.feed(piece):
                    yield message
        for message in objects.finish():
            yield message
    except (EngineError, EngineAnswerError) as fault:
        text = fault.message if isinstance(fault, EngineError) else str(fault)
        raise PullError(image, text) from None


def _error(message: Mapping[str, Any]) -> str | None:
    """Text of `errorDetail`, or of `error`, which newer engines leave out."""
    detail = message.get("errorDetail")
    text = detail.get("message") if isinstance(detail, Mapping) else None
    text = text or message.get("error")
    if text is None and detail is None:
        return None
    return str(text or "the engine gave no reason")


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
