"""A container engine on a Unix socket that holds its state in memory and fails when told to.

```python
async with running_engine(tmp_path) as fake, Engine(fake.address) as engine:
    fake.state.add_image("sensor:1")
    fake.faults.append(Fault("POST", "/containers/create", status=500))
    ...
    assert fake.paths("POST") == [...]
```
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from testkit.fake_engine_state import (
    EngineState,
    FakeContainer,
    LogLine,
    Refusal,
    has_labels,
    matches,
    time_text,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from testkit.fake_engine_state import Pullable

_PATH = re.compile(r"(?:/v(?P<major>\d+)\.(?P<minor>\d+))?(?P<path>/.*)")


@dataclass
class Fault:
    """Something that goes wrong with requests of one kind.

    :param path: pattern that the whole path matches, without version.
    :param status: answer in place of the real one.
    :param hold: waits until it is set, before everything else.
    :param drop: breaks the connection without an answer.
    :param acts: the request is obeyed before it fails.
    :param skip: so many matching requests go well first.
    :param times: how often it fails; None for ever.
    """

    method: str
    path: str
    status: int | None = None
    message: str = "it failed"
    hold: asyncio.Event | None = None
    drop: bool = False
    acts: bool = False
    skip: int = 0
    times: int | None = 1

    def takes(self, method: str, path: str) -> bool:
        """Whether it is the turn of this fault; counts."""
        if self.times == 0 or method != self.method or not re.fullmatch(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Request:
    """One request as it came in.

    :param path: without version.
    :param api: the version, None without.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str] = field(repr=False)
    api: str | None = None


class FakeEngine:
    """The server.

    :ivar journal: requests in the order in which they came.
    :ivar faults: the first that takes a request counts.
    :ivar garbage: path to bytes that are answered as JSON, whatever they are.
    """

    def __init__(self, socket: Path, now_ms: Callable[[], int] | None = None) -> None:
        self.socket = socket
        self.address = f"unix://{socket}"
        self.api, self.oldest_api = "1.41", "1.12"
        self.state = EngineState(now_ms or (lambda: time.time_ns() // 1_000_000))
        self.journal: list[Request] = []
        self.faults: list[Fault] = []
        self.garbage: dict[str, bytes] = {}
        self._arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def paths(self, *methods: str) -> list[str]:
        """`METHOD /path` of what came in, of these methods."""
        wanted = methods or ("GET", "POST", "DELETE")
        return [f"{entry.method} {entry.path}" for entry in self.journal if entry.method in wanted]

    async def received(self, method: str, path: str, count: int = 1) -> None:
        """Waits until so many requests came in whose path matches."""
        while sum(e.method == method and bool(re.fullmatch(path, e.path)) for e in self.journal) < count:
            await self._arrived.wait()

    async def start(self) -> None:
        """Listens. An engine that was started anew has its containers as they were."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self.socket.unlink(missing_ok=True)
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        """Is gone, with all connections."""
        runner, self._runner = self._runner, None
        if runner is not None:
            server = runner.server
            for handler in list(server.connections) if server is not None else ():
                if handler.transport is not None:
                    handler.transport.abort()
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        entry = await self._entry(request)
        self.journal.append(entry)
        self._arrived.set()
        self._arrived = asyncio.Event()
        fault = next((fault for fault in self.faults if fault.takes(entry.method, entry.path)), None)
        try:
            self._check_version(entry)
            if fault is not None:
                return await self._fail(fault, entry, request)
            return await self._obey(entry, request)
        except Refusal as refusal:
            return self._json({"message": refusal.message}, refusal.status)

    async def _fail(self, fault: Fault, entry: Request, request: web.Request) -> web.StreamResponse:
        if fault.hold is not None:
            await fault.hold.wait()
        if not fault.drop and fault.status is None:
            return await self._obey(entry, request)
        if fault.acts:
            await self._obey(entry, request)
        if fault.drop and request.transport is not None:
            request.transport.abort()
        return self._json({"message": fault.message}, fault.status or 500)

    async def _entry(self, request: web.Request) -> Request:
        found = _PATH.fullmatch(request.path)
        assert found is not None
        text = await request.read()
        api = f"{found['major']}.{found['minor']}" if found["major"] else None
        body = json.loads(text) if text else None
        return Request(request.method, found["path"], dict(request.query), body, dict(request.headers), api)

    def _check_version(self, entry: Request) -> None:
        if entry.api is None:
            return
        asked, oldest, newest = (_numbers(text) for text in (entry.api, self.oldest_api, self.api))
        if asked > newest:
            raise Refusal(
                400, f"client version {entry.api} is too new. Maximum supported API version is {self.api}"
            )
        if asked < oldest:
            raise Refusal(
                400,
                f"client version {entry.api} is too old. Minimum supported API version is {self.oldest_api}",
            )

    async def _obey(self, entry: Request, request: web.Request) -> web.StreamResponse:
        if entry.path in self.garbage:
            return web.Response(body=self.garbage[entry.path], content_type="application/json")
        for method, pattern, act in self._routes():
            found = re.fullmatch(pattern, entry.path)
            if found is not None and method == entry.method:
                return await act(entry, request, *found.groups())
        raise Refusal(404, "page not found")

    def _routes(self) -> list[tuple[str, str, Callable[..., Awaitable[web.StreamResponse]]]]:
        one = r"/containers/([^/]+)"
        return [
            ("GET", "/version", self._version),
            ("GET", "/info", self._info),
            ("GET", "/events", self._events),
            ("GET", "/containers/json", self._list),
            ("POST", "/containers/create", self._create),
            ("GET", f"{one}/json", self._inspect),
            ("POST", f"{one}/(start|stop|restart)", self._act),
            ("POST", f"{one}/wait", self._wait),
            ("POST", f"{one}/rename", self._rename),
            ("DELETE", one, self._remove),
            ("GET", f"{one}/logs", self._logs),
            ("GET", f"{one}/top", self._top),
            ("GET", f"{one}/stats", self._stats),
            ("GET", "/images/json", self._images),
            ("POST", "/images/create", self._pull),
            ("GET", "/images/(.+)/json", self._image),
            ("DELETE", "/images/(.+)", self._remove_image),
            ("GET", "/networks", self._networks),
            ("POST", "/networks/create", self._create_network),
        ]

    def _json(self, content: Any, status: int = 200) -> web.Response:
        return web.json_response(content, status=status, headers={"Api-Version": self.api})

    async def _version(self, _entry: Request, _request: web.Request) -> web.Response:
        return self._json(
            {
                "Version": "20.10.0",
                "ApiVersion": self.api,
                "MinAPIVersion": self.oldest_api,
                "Os": "linux",
                "Arch": "amd64",
                "KernelVersion": "6.1.0",
            }
        )

    async def _info(self, _entry: Request, _request: web.Request) -> web.Response:
        return self._json(
            {
                "OSType": "linux",
                "Architecture": "x86_64",
                "NCPU": 2,
                "MemTotal": 4096,
                "ServerVersion": "20.10.0",
            }
        )

    async def _events(self, entry: Request, request: web.Request) -> web.StreamResponse:
        response = await self._begin(request)
        seen = len(self.state.events)
        while True:
            happened = self.state.happened
            for event in self.state.events[seen:]:
                if matches(event, entry.query.get("filters", "")):
                    await response.write(json.dumps(event).encode() + b"\n")
            seen = len(self.state.events)
            await happened.wait()

    async def _list(self, entry: Request, _request: web.Request) -> web.Response:
        wanted = json.loads(entry.query.get("filters", "{}")).get("label", [])
        found = [entry for entry in self.state.containers.values() if has_labels(entry.labels, wanted)]
        return self._json([container.row() for container in found])

    async def _create(self, entry: Request, _request: web.Request) -> web.Response:
        container = self.state.create(entry.query.get("name", ""), entry.body or {})
        return self._json({"Id": container.container_id, "Warnings": []}, 201)

    async def _inspect(self, _entry: Request, _request: web.Request, name: str) -> web.Response:
        return self._json(self.state.find(name).details())

    async def _act(self, _entry: Request, _request: web.Request, name: str, verb: str) -> web.Response:
        container = self.state.find(name)
        if verb == "restart":
            self.state.restart(container)
            return web.Response(status=204)
        did = self.state.start(container) if verb == "start" else self.state.stop(container)
        return web.Response(status=204 if did else 304)

    async def _remove(self, entry: Request, _request: web.Request, name: str) -> web.Response:
        self.state.remove(self.state.find(name), force=entry.query.get("force") == "true")
        return web.Response(status=204)

    async def _rename(self, entry: Request, _request: web.Request, name: str) -> web.Response:
        self.state.rename(self.state.find(name), entry.query.get("name", ""))
        return web.Response(status=204)

    async def _wait(self, entry: Request, _request: web.Request, name: str) -> web.Response:
        container = self.state.find(name)
        until_gone = entry.query.get("condition") == "removed"
        while container.runs or (until_gone and container.container_id in self.state.containers):
            await self.state.happened.wait()
        return self._json({"StatusCode": container.exit_code})

    async def _logs(self, entry: Request, request: web.Request, name: str) -> web.StreamResponse:
        container = self.state.find(name)
        response = await self._begin(request)
        lines = [line for line in container.log if _in_time(line, entry.query)]
        tail = entry.query.get("tail", "all")
        start = max(0, len(lines) - int(tail)) if tail != "all" else 0
        for line in lines[start:]:
            await response.write(_shown(container, line, entry.query))
        seen = len(container.log)
        while entry.query.get("follow") == "true" and container.runs:
            grew = container.grew
            for line in container.log[seen:]:
                await response.write(_shown(container, line, entry.query))
            seen = len(container.log)
            if container.runs:
                await grew.wait()
        await response.write_eof()
        return response

    async def _top(self, _entry: Request, _request: web.Request, name: str) -> web.Response:
        container = self.state.find(name)
        if not container.runs:
            raise Refusal(409, f"Container {name} is not running")
        return self._json({"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "4711", "sensor"]]})

    async def _stats(self, _entry: Request, _request: web.Request, name: str) -> web.Response:
        self.state.find(name)
        return self._json(
            {
                "cpu_stats": {"cpu_usage": {"total_usage": 5_000}, "system_cpu_usage": 1_000_000},
                "memory_stats": {"usage": 3_000, "limit": 9_000, "stats": {"inactive_file": 1_000}},
                "pids_stats": {"current": 3},
                "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 20}},
                "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 7}]},
            }
        )

    async def _images(self, _entry: Request, _request: web.Request) -> web.Response:
        ids: dict[str, list[str]] = {}
        for reference, found in self.state.images.items():
            ids.setdefault(found, []).extend([reference] if reference != found else [])
        rows = [{"Id": key, "RepoTags": tags, "Size": 100, "Created": 1} for key, tags in ids.items()]
        return self._json(rows)

    async def _image(self, _entry: Request, _request: web.Request, reference: str) -> web.Response:
        return self._json({"Id": self.state.image(reference), "RepoTags": [reference]})

    async def _remove_image(self, _entry: Request, _request: web.Request, reference: str) -> web.Response:
        return self._json(self.state.remove_image(reference))

    async def _pull(self, entry: Request, request: web.Request) -> web.StreamResponse:
        reference = entry.query["fromImage"]
        pullable = self.state.registry.get(reference)
        if pullable is None:
            raise Refusal(404, f"manifest for {reference} not found: manifest unknown")
        if pullable.credentials is not None and _credentials(entry) != pullable.credentials:
            raise Refusal(500, "unauthorized: authentication required")
        response = await self._begin(request)
        await self._pull_to(response, reference, pullable)
        await response.write_eof()
        return response

    async def _pull_to(self, response: web.StreamResponse, reference: str, pullable: Pullable) -> None:
        await response.write(_line(status=f"Pulling from {reference}", id="1"))
        await response.write(_line(status="Pulling fs layer", id="a1"))
        if pullable.gate is not None:
            await pullable.gate.wait()
        if pullable.error is not None:
            await response.write(_line(errorDetail={"message": pullable.error}, error=pullable.error))
            return
        for status in ("Downloading", "Pull complete"):
            await response.write(_line(status=status, id="a1", progressDetail={"current": 5, "total": 10}))
        self.state.add_image(reference, pullable.content)
        await response.write(_line(status=f"Status: Downloaded newer image for {reference}"))

    async def _networks(self, entry: Request, _request: web.Request) -> web.Response:
        wanted = json.loads(entry.query.get("filters", "{}")).get("name", [""])
        found = [row for name, row in self.state.networks.items() if any(part in name for part in wanted)]
        return self._json(found)

    async def _create_network(self, entry: Request, _request: web.Request) -> web.Response:
        return self._json({"Id": self.state.create_network(entry.body)}, 201)

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Api-Version": self.api})
        response.enable_chunked_encoding()
        await response.prepare(request)
        return response


@contextlib.asynccontextmanager
async def running_engine(now_ms: Callable[[], int] | None = None) -> AsyncIterator[FakeEngine]:
    """A fake engine on a socket in a short temporary folder: paths of sockets have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        fake = FakeEngine(Path(folder) / "docker.sock", now_ms)
        await fake.start()
        try:
            yield fake
        finally:
            await fake.stop()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _line(**members: Any) -> bytes:
    return json.dumps(members).encode() + b"\r\n"


def _credentials(entry: Request) -> tuple[str, str] | None:
    header = entry.headers.get("X-Registry-Auth")
    if not header:
        return None
    content = json.loads(base64.urlsafe_b64decode(header))
    return content["username"], content["password"]


def _in_time(line: LogLine, query: dict[str, str]) -> bool:
    since, until = (float(query.get(name) or 0) * 1000 for name in ("since", "until"))
    return line.time_ms >= since and (not until or line.time_ms <= until)


def _shown(container: FakeContainer, line: LogLine, query: dict[str, str]) -> bytes:
    data = (
        f"{time_text(line.time_ms)} ".encode() + line.data if query.get("timestamps") == "true" else line.data
    )
    if query.get("stdout" if line.stream == 1 else "stderr") != "true":
        return b""
    if container.body.get("Tty"):
        return data
    return bytes((line.stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
