"""A hub on loopback ports, and calls of its REST API."""

from __future__ import annotations

import json
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from edgehub.protocol.sas import build_token
from iothub.config import HubConfig, HubLimits
from iothub.server import HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from io import BytesIO
    from pathlib import Path

HOST = "localhost"
VERSION = "2021-04-12"


class Api:
    """Calls with a token."""

    def __init__(self, server: HubServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    def token(self, policy: str = "iothubowner", life: int = 3600) -> str:
        """A token of a policy."""
        key = self.server.policies[policy].primary_key
        return build_token(HOST, int(time.time()) + life, key=key, policy=policy)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        if_match: str | None = None,
        version: str | None = VERSION,
        raw: bytes | BytesIO | None = None,
    ) -> Answer:
        """One request."""
        headers = {"Authorization": self.token() if token is None else token}
        if if_match is not None:
            headers["If-Match"] = if_match
        separator = "&" if "?" in path else "?"
        query = "" if version is None else f"{separator}api-version={version}"
        url = URL(f"https://{HOST}:{self.server.https_port}{path}{query}", encoded=True)
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            content = await answer.read()
            return Answer(answer.status, answer.headers, json.loads(content) if content else None)

    def stream(self, path: str) -> Any:
        """A streamed answer."""
        url = f"https://{HOST}:{self.server.https_port}{path}"
        return self._session.get(url, headers={"Authorization": self.token("service")})

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        answer = await self.call(method, path, body, **options)
        assert answer.status in (200, 204), answer
        return answer.json


class Answer:
    """Status, headers and JSON."""

    def __init__(self, status: int, headers: Mapping[str, str], found: Any) -> None:
        self.status = status
        self.headers = headers
        self.json = found

    def error(self) -> tuple[int, str]:
        """Status and code; header and body must agree."""
        code = self.headers["iothub-errorcode"]
        assert self.json["Message"].startswith(f"ErrorCode:{code};")
        assert "Tracking ID" in self.json["ExceptionMessage"]
        return self.status, code

    def __repr__(self) -> str:
        return f"{self.status} {self.json}"


@asynccontextmanager
async def running(folder: Path, limits: HubLimits | None = None, **config: Any) -> AsyncIterator[Api]:
    """A hub with its data in a folder.

    :param config: more of `HubConfig`.
    """
    config = {"host": "127.0.0.1", "amqp_port": 0, "https_port": 0, "limits": limits or HubLimits(), **config}
    server = HubServer(HubConfig(folder, HOST, **config))
    await server.start()
    context = ssl.create_default_context(cafile=str(server.certificate.ca_file))
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield Api(server, session)
    finally:
        await server.stop()
