"""Asks a running agent by way of its management API."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from edgeagent.config.paths import MANAGEMENT_SOCKET
from edgeagent.errors import AgentError
from edgeagent.runtime.errors import EngineAnswerError
from edgeagent.runtime.log_frames import FrameParser, LogFrame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

API_VERSION: Final = "2020-07-07"
DEFAULT_ADDRESS: Final = f"unix://{MANAGEMENT_SOCKET}"
CALL_S = 60.0
CONTROL_S = 300.0
"""A stop may wait for a container that does not end."""
BUNDLE_S = 1000.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=15.0)


class ManagementError(AgentError):
    """The agent did not answer, or refused.

    :ivar status: HTTP status, None without an answer.
    :ivar causes: what lies behind it, the nearest first.
    """

    def __init__(self, text: str, status: int | None = None, causes: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.causes = causes


class ManagementClient:
    """Calls of one agent; each is a connection of its own.

    :param address: `unix:///path` or `http://host:port`.
    :raises ManagementError: another form of address.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS) -> None:
        self.address = address
        scheme, _, rest = address.partition("://")
        is_socket = scheme == "unix" and rest.startswith("/")
        if not is_socket and not (scheme == "http" and rest.strip("/")):
            raise ManagementError(
                f'"{address}" is no address of an agent; expected unix:///path/of/socket or http://host:port'
            )
        self._path = rest if is_socket else None
        self._base = "http://agent" if is_socket else address.rstrip("/")

    async def modules(self) -> list[dict[str, Any]]:
        found = await self._json("GET", "/modules")
        modules = found.get("modules") if isinstance(found, dict) else None
        if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
            raise ManagementError(f"{self.address} did not answer as an agent does")
        return modules

    async def system_info(self) -> Mapping[str, Any]:
        found = await self._json("GET", "/systeminfo")
        if not isinstance(found, dict):
            raise ManagementError(f"{self.address} did not answer as an agent does")
        return found

    async def act(self, name: str, verb: str) -> None:
        """Starts, stops or restarts a module."""
        await self._json("POST", f"/modules/{quote(name, safe='')}/{verb}", deadline_s=CONTROL_S)

    async def logs(self, name: str, query: Mapping[str, str]) -> AsyncIterator[LogFrame]:
        """Its log, frame by frame."""
        parser = FrameParser()
        try:
            async for piece in self.stream(f"/modules/{quote(name, safe='')}/logs", query, None):
                for frame in parser.feed(piece):
                    yield frame
            parser.finish()
        except EngineAnswerError as fault:
            raise ManagementError(str(fault)) from None

    async def stream(
        self, path: str, query: Mapping[str, str], deadline_s: float | None
    ) -> AsyncGenerator[bytes, None]:
        """An answer piece by piece.

        :param deadline_s: for all of it, None for any.
        """
        limits = aiohttp.ClientTimeout(total=deadline_s, sock_connect=15.0)
        async with (
            self._failures(),
            self._session() as session,
            session.get(self._base + path, params=_query(query), timeout=limits) as response,
        ):
            await self._check(response)
            async for piece in response.content.iter_any():
                yield piece

    async def _json(self, verb: str, path: str, deadline_s: float = CALL_S) -> Any:
        limits = aiohttp.ClientTimeout(total=deadline_s)
        async with (
            self._failures(),
            self._session() as session,
            session.request(verb, self._base + path, params=_query({}), timeout=limits) as response,
        ):
            await self._check(response)
            body = await _body(response)
        try:
            return msgspec.json.decode(body) if body else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ManagementError(f"{self.address} did not answer with JSON") from None

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(self._path) if self._path else aiohttp.TCPConnector()
        return aiohttp.ClientSession(connector=connector, timeout=_NO_LIMIT, auto_decompress=False)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status < 300:
            return
        message = response.reason or "no reason given"
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = msgspec.json.decode(await _body(response))
            if isinstance(content, dict) and isinstance(content.get("message"), str):
                message = content["message"]
        raise ManagementError(message, response.status)

    @contextlib.asynccontextmanager
    async def _failures(self) -> AsyncIterator[None]:
        try:
            yield
        except TimeoutError:
            raise ManagementError(f"the agent at {self.address} did not answer in time") from None
        except aiohttp.ClientConnectorError as fault:
            reason = fault.os_error.strerror or str(fault.os_error)
            raise ManagementError(self._advice(fault.os_error), causes=(reason,)) from None
        except (aiohttp.ClientError, OSError) as fault:
            raise ManagementError(
                f"the connection to the agent at {self.address} broke off", causes=(str(fault),)
            ) from None

    def _advice(self, fault: OSError) -> str:
        """What to do when nobody listens."""
        if isinstance(fault, PermissionError):
            return (
                f"you may not use the socket of the agent, {self.address}; run the command with sudo, "
                "or as a member of the group iotedge"
            )
        return (
            f"no agent listens at {self.address}; start it (sudo systemctl start edgeagent), "
            "or say with -H or IOTEDGE_HOST where it listens"
        )


def _query(query: Mapping[str, str]) -> dict[str, str]:
    return {"api-version": API_VERSION, **query}


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise ManagementError(f"the agent's answer has more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)
