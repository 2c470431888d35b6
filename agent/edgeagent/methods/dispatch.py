"""From the name and payload of a call to its answer (agent spec 5.1, rows D01 to D04)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from edgeagent.errors import AgentError
from edgeagent.methods.errors import FAILED, OK, BadCallError, MethodError

PAYLOAD_BYTES_MAX = 256 * 1024
CALLS_AT_ONCE_MAX = 10
"""Further calls are answered with 500 at once."""

Handler: TypeAlias = Callable[[Any], Awaitable[Any]]

_log = logging.getLogger(__name__)
_WITHOUT_PAYLOAD = ("ping",)


class Methods:
    """Answers calls.

    :param handlers: by name as it is written in answers; looked up in any case.
    :param timeout_s: `RequestTimeoutSecs`; a handler that takes longer is ended.
    """

    def __init__(self, handlers: Mapping[str, Handler], timeout_s: float) -> None:
        self._handlers = {name.lower(): (name, handler) for name, handler in handlers.items()}
        self._timeout_s = timeout_s
        self._calls = 0

    async def answer(self, method: str, payload: bytes) -> tuple[int, Any]:
        """Status and JSON value of the answer; never raises but when it is cancelled."""
        if self._calls >= CALLS_AT_ONCE_MAX:
            return FAILED, _message(f"{self._calls} calls are at work; try again later")
        self._calls += 1
        try:
            return OK, await asyncio.wait_for(self._handle(method, payload), self._timeout_s)
        except MethodError as fault:
            return fault.status, _message(str(fault))
        except AgentError as fault:
            return FAILED, _message(str(fault))
        except TimeoutError:
            return FAILED, _message(f"{method} took longer than {self._timeout_s:g} s")
        except Exception as fault:
            _log.exception("method %s failed", method)
            return FAILED, _message(str(fault) or repr(fault))
        finally:
            self._calls -= 1

    async def _handle(self, method: str, payload: bytes) -> Any:
        name, handler = self._find(method)
        _log.info("method %s", name)
        if name in _WITHOUT_PAYLOAD:
            return await handler(None)
        return await handler(decode_payload(payload))

    def _find(self, method: str) -> tuple[str, Handler]:
        found = self._handlers.get(method.strip().lower())
        if found is None:
            known = ",".join(name for name, _ in self._handlers.values())
            raise BadCallError(f"Command '{method}' not found. The supported commands are - {known}")
        return found


def decode_payload(payload: bytes) -> Any:
    """:raises BadCallError: no payload, or not JSON."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BadCallError(f"{len(payload)} bytes of payload; at most {PAYLOAD_BYTES_MAX} are read")
    if payload.strip() in (b"", b"null"):
        raise BadCallError("Request payload not found")
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise BadCallError(f"Error parsing command payload because of error - {fault}") from None


def _message(text: str) -> dict[str, str]:
    return {"message": text}
