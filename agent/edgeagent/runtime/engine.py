"""The one door to the Docker Engine API (agent spec 3.1).

Everything that the agent asks of the engine goes through :class:`Engine`, which adds the version of the API,
a deadline, limits, and errors of one kind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from edgeagent import __version__
from edgeagent.model.canonical import canonical_json
from edgeagent.runtime.errors import (
    EngineAnswerError,
    EngineDeadline,
    EngineError,
    EngineUnreachable,
)
from edgeagent.runtime.versions import ApiVersion, EngineVersion, agree

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"

DEADLINE_S = 60.0
"""Of a call that says nothing else, and of the first byte of a stream."""
BODY_BYTES_MAX = 16 * 1024 * 1024
"""Longest answer; a list of 200 containers with long labels is a tenth of it."""
ERROR_BYTES_MAX = 64 * 1024
"""How much is read of the answer to a refused request."""
CALLS_MAX = 64
"""Calls at once, stops with a long grace among them; more wait for a place, within their deadline."""
STREAMS_MAX = 64
"""Pulls, logs and event streams at once; more wait for a place, within their deadline."""

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_NOT_MODIFIED = 304
"""Started already, or stopped already: as good as done (row C11)."""

Query = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine answered, without error status.

    :param content: decoded JSON; None for an empty body.
    """

    status: int
    content: Any


class Engine:
    """A Docker engine, or one that speaks its API.

    The version of the API is agreed upon with the first call, and again when the engine was gone or
    answers as another version. Cancelling a call drops its connection and nothing else. When a connection
    breaks off before the answer, GET and DELETE are sent once more, which does no harm; POST never is.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS) -> None:
        """:param address: `unix:///path` or `tcp://host:port`.

        :raises ValueError: another form of address.
        """
        self.address = address
        self._base, self._socket = _target(address)
        self._session: aiohttp.ClientSession | None = None
        self._version: EngineVersion | None = None
        self._agreeing = asyncio.Lock()
        self._calls = asyncio.Semaphore(CALLS_MAX)
        self._streams = asyncio.Semaphore(STREAMS_MAX)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drops all connections; calls under way fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def version(self) -> EngineVersion:
        """What the engine is, and which version of the API is spoken with it.

        :raises EngineVersionError: there is none that both speak.
        """
        async with self._failures("/version", DEADLINE_S), asyncio.timeout(DEADLINE_S), self._agreeing:
            if self._version is None:
                answer = await self._request("GET", "/version", None)
                self._version = agree(answer.content)
            return self._version

    async def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        """One request with a short answer.

        :param path: without version, parts of it quoted with :func:`part`.
        :param body: becomes JSON.
        :raises EngineError: a status of 400 or above.
        :raises EngineUnreachable: no connection, or no answer in time.
        :raises EngineAnswerError: too long, or not JSON.
        """
        try:
            return await self._versioned(method, path, query, body, deadline_s)
        except EngineError as fault:
            if not _is_version_refused(fault):
                raise
        # Another engine than the one that was agreed with; it did nothing of what was asked.
        return await self._versioned(method, path, query, body, deadline_s)

    async def _versioned(
        self, method: str, path: str, query: Query | None, body: Any, deadline_s: float
    ) -> Answer:
        version = await self.version()
        return await self._request(method, path, version.api, query, body, deadline_s)

    async def get(self, path: str, query: Query | None = None, deadline_s: float = DEADLINE_S) -> Any:
        """Content of the answer to a GET; errors as of :meth:`call`."""
        return (await self.call("GET", path, query, deadline_s=deadline_s)).content

    async def rows(self, path: str, query: Query | None = None) -> list[dict[str, Any]]:
        """Objects of a list; null counts as an empty one. Errors as of :meth:`call`."""
        answer = await self.get(path, query)
        if not isinstance(answer, list | None) or not all(isinstance(row, dict) for row in answer or ()):
            raise EngineAnswerError(f"the answer for {path} is no list of objects")
        return answer or []

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        first_s: float = DEADLINE_S,
        idle_s: float | None = None,
        total_s: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A request whose answer comes bit by bit: pieces of it as they arrive.

        :param first_s: longest wait for the beginning of the answer.
        :param idle_s: longest pause between two pieces, None for any.
        :param total_s: longest time in all, None for any.
        :raises EngineError: a status of 400 or above.
        :raises EngineUnreachable: no connection, a pause that is too long, or it broke off.
        """
        version = await self.version()
        async with self._failures(path, first_s), asyncio.timeout(first_s):
            await self._streams.acquire()
        try:
            url = self._url(path, version.api, query)
            async with self._failures(path, first_s), asyncio.timeout(first_s):
                response = await self._response(method, url, path, headers)
            try:
                yield self._pieces(response, path, idle_s, total_s)
            finally:
                # Not released: that would wait for the rest of what may have no end.
                response.close()
        finally:
            self._streams.release()

    async def _response(
        self, method: str, url: URL, path: str, headers: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        """The answer up to its first byte."""
        response = await self._open().request(
            method, url, headers=headers, timeout=_NO_TIMEOUT, allow_redirects=False
        )
        try:
            await self._check(response, path)
        except BaseException:
            response.close()
            raise
        return response

    async def _pieces(
        self, response: aiohttp.ClientResponse, path: str, idle_s: float | None, total_s: float | None
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends_s = None if total_s is None else loop.time() + total_s
        while True:
            left_s = None if ends_s is None else ends_s - loop.time()
            limit_s = min((limit for limit in (idle_s, left_s) if limit is not None), default=None)
            async with self._failures(path, limit_s), asyncio.timeout(limit_s):
                piece = await response.content.readany()
            if not piece:
                return
            yield piece

    async def _request(
        self,
        method: str,
        path: str,
        api: ApiVersion | None,
        query: Query | None = None,
        body: Any = None,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        data = None if body is None else canonical_json(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = self._url(path, api, query)
        async with (
            self._failures(path, deadline_s),
            asyncio.timeout(deadline_s),
            self._calls,
            self._open().request(
                method, url, data=data, headers=headers, timeout=_NO_TIMEOUT, allow_redirects=False
            ) as response,
        ):
            await self._check(response, path)
            self._notice(response)
            return Answer(response.status, await _content(response, path))

    def _notice(self, response: aiohttp.ClientResponse) -> None:
        """An engine that was replaced by another version says so in each answer."""
        said = response.headers.get("Api-Version")
        if self._version is not None and said and said != str(self._version.newest_api):
            self._version = None

    @contextlib.asynccontextmanager
    async def _failures(self, path: str, deadline_s: float | None) -> AsyncIterator[None]:
        """Turns what aiohttp and the system raise into errors of ours."""
        try:
            yield
        except TimeoutError:
            self._version = None
            raise EngineDeadline(self.address, path, deadline_s or 0.0) from None
        except (aiohttp.ClientError, OSError) as fault:
            self._version = None
            raise EngineUnreachable(self.address, _reason(fault)) from fault

    async def _check(self, response: aiohttp.ClientResponse, path: str) -> None:
        """:raises EngineError: the engine refused; nothing it serves is a redirect either."""
        if response.status < 300 or response.status == _NOT_MODIFIED:
            return
        body = await _body(response, ERROR_BYTES_MAX)
        fault = EngineError(response.status, _message(body[:ERROR_BYTES_MAX]), path)
        if _is_version_refused(fault):
            self._version = None
        raise fault

    def _url(self, path: str, api: ApiVersion | None, query: Query | None) -> URL:
        version = f"/v{api}" if api else ""
        given = {name: _shown(value) for name, value in (query or {}).items() if value is not None}
        return URL(f"{self._base}{version}{path}{'?' if given else ''}{urlencode(given)}", encoded=True)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"edgeagent/{__version__}"},
                auto_decompress=False,
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        """A new connection for each request.

        It costs a tenth of a millisecond on a Unix socket. A kept one may be dead since the engine was
        started anew, which a POST would find out only after it perhaps was obeyed.
        """
        if self._socket is None:
            return aiohttp.TCPConnector(limit=0, force_close=True)
        return aiohttp.UnixConnector(path=self._socket, limit=0, force_close=True)


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The whole body, or more than `bytes_max` bytes of it."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > bytes_max:
            break
    return bytes(body)


async def _content(response: aiohttp.ClientResponse, path: str) -> Any:
    body = await _body(response, BODY_BYTES_MAX)
    if len(body) > BODY_BYTES_MAX:
        raise EngineAnswerError(f"the answer for {path} has more than {BODY_BYTES_MAX} bytes")
    if not body or response.content_type != "application/json":
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise EngineAnswerError(f"the answer for {path} is not JSON: {fault}") from None


def part(name: str) -> str:
    """A name as one part of a path.

    :raises EngineError: 404 for what cannot be a name, and would lead elsewhere in a path.
    """
    if name in ("", ".", ".."):
        raise EngineError(404, f'there is nothing of the name "{name}"', "/")
    return quote(name, safe="")


def image_part(reference: str) -> str:
    """An image's reference or id in a path: the engine takes its slashes as they are."""
    return quote(reference, safe="/:@")


def filters(**wanted: list[str]) -> str:
    """Value of the parameter `filters`."""
    return canonical_json(wanted).decode()


def _target(address: str) -> tuple[str, str | None]:
    """Base of the URLs, and the path of the socket."""
    scheme, found, rest = address.partition("://")
    if found and scheme == "unix" and rest.startswith("/"):
        return "http://engine", rest
    if found and scheme in ("tcp", "http") and rest.strip("/"):
        return f"http://{rest.strip('/')}", None
    raise ValueError(
        f'"{address}" is no address of a container engine; expected unix:///path or tcp://host:port'
    )


def _shown(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _message(text: bytes) -> str:
    """The engine's `{"message": ...}`, or the text as it is."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = msgspec.json.decode(text)
        if isinstance(content, dict) and isinstance(content.get("message"), str):
            return str(content["message"])
    return text.decode("utf-8", "replace")


def _is_version_refused(fault: EngineError) -> bool:
    return fault.status == 400 and "client version" in fault.message.lower()


def _reason(fault: Exception) -> str:
    if isinstance(fault, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection broke off"
    cause = getattr(fault, "os_error", fault)
    return getattr(cause, "strerror", None) or str(cause) or type(fault).__name__
