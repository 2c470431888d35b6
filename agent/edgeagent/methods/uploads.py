"""UploadModuleLogs and UploadSupportBundle: to a blob container by its SAS URL (agent spec 5.5, 5.6).

Each log is one block blob, put in one piece. The URL is a secret: no log line and no error has its query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from edgeagent.manifest.images import resolve_upstream
from edgeagent.methods.errors import BadCallError, MethodError
from edgeagent.methods.log_parts import LogReader, compressed
from edgeagent.methods.log_request import LogItem, LogRequest, assign_modules, parse_log_request
from edgeagent.methods.payload import Payload

if TYPE_CHECKING:
    from edgeagent.methods.tasks import Tasks

TRIES = 3
PAUSES_S = (5.0, 20.0)
URL_CHARS_MAX = 4096

Put = Callable[[str, bytes, dict[str, str]], Awaitable[None]]
"""Puts a body to a URL with headers; raises :class:`MethodError` when it is not taken."""

Bundle = Callable[[str | None, str | None, bool], Awaitable[bytes]]
"""Makes a support bundle: since, until, and whether only the runtime's own modules are in it."""


def container_url(text: str, parent_hostname: str | None) -> str:
    """Checks a SAS URL, `$upstream` replaced.

    :raises BadCallError: not a URL of a container.
    """
    if len(text) > URL_CHARS_MAX:
        raise BadCallError(f"sasUrl: more than {URL_CHARS_MAX} characters")
    scheme, separator, rest = text.partition("://")
    try:
        url = urlsplit(scheme + separator + resolve_upstream(rest, parent_hostname))
        hostname = url.hostname
    except ValueError as fault:
        raise BadCallError(f"sasUrl: {fault}") from None
    if url.scheme not in ("http", "https") or not hostname:
        raise BadCallError("sasUrl: expected the URL of a blob container, https://host/container?...")
    return urlunsplit(url)


def blob_url(container: str, name: str) -> str:
    """URL of a blob in a container; the query, which is the permission, goes along."""
    url = urlsplit(container)
    path = f"{url.path.rstrip('/')}/{quote(name)}"
    return urlunsplit((url.scheme, url.netloc, path, url.query, ""))


def blob_name(hub: str, device: str, module: str, now: datetime, request: LogRequest) -> str:
    """`hub/device/module-2026-01-02--03-04-05.log`, with the ending of its form (row D18)."""
    ending = ("json" if request.as_json else "log") + (".gz" if request.gzip else "")
    return f"{hub}/{device}/{module}-{now:%Y-%m-%d--%H-%M-%S}.{ending}"


class Uploader:
    """Puts blobs, and tries again.

    :param put: one attempt.
    :param sleep: pauses, in seconds.
    """

    def __init__(self, put: Put, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._put = put
        self._sleep = sleep

    async def upload(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """:raises MethodError: the last of three attempts failed."""
        for pause_s in (*PAUSES_S, None):
            try:
                await self._put(url, body, {"x-ms-blob-type": "BlockBlob", **headers})
            except MethodError:
                if pause_s is None:
                    raise
                await self._sleep(pause_s)
            else:
                return


class UploadModuleLogs:
    """Begins an upload, and answers at once (row D15)."""

    def __init__(
        self,
        reader: LogReader,
        uploader: Uploader,
        tasks: Tasks,
        place: tuple[str, str],
        parent_hostname: str | None,
        *,
        up_to_level: bool = False,
    ) -> None:
        """:param place: host name of the hub, and device id."""
        self._reader, self._uploader, self._tasks = reader, uploader, tasks
        self._place = place
        self._parent_hostname = parent_hostname
        self._up_to_level = up_to_level

    async def __call__(self, payload: Any) -> dict[str, str]:
        members = Payload(payload)
        members.check_schema()
        url = container_url(members.required_text("sasUrl"), self._parent_hostname)
        request = parse_log_request(members, up_to_level=self._up_to_level)
        return self._tasks.begin("upload logs", self._upload(url, request))

    async def _upload(self, url: str, request: LogRequest) -> None:
        modules = assign_modules(await self._reader.module_names(), request)
        now = datetime.now(UTC)
        uploads = [self._upload_one(url, name, item, request, now) for name, item in modules.items()]
        for result in await asyncio.gather(*uploads, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _upload_one(
        self, url: str, name: str, item: LogItem, request: LogRequest, now: datetime
    ) -> None:
        content = await self._reader.read(name, item, as_json=request.as_json)
        headers = {"Content-Type": "application/json" if request.as_json else "text/plain"}
        if request.gzip:
            content = await asyncio.to_thread(compressed, content)
            headers["Content-Encoding"] = "gzip"
        target = blob_url(url, blob_name(*self._place, name, now, request))
        await self._uploader.upload(target, content, headers)


class UploadSupportBundle:
    """Makes a support bundle and uploads it."""

    def __init__(
        self,
        bundle: Bundle,
        uploader: Uploader,
        tasks: Tasks,
        place: tuple[str, str],
        parent_hostname: str | None,
    ) -> None:
        self._bundle, self._uploader, self._tasks = bundle, uploader, tasks
        self._place = place
        self._parent_hostname = parent_hostname

    async def __call__(self, payload: Any) -> dict[str, str]:
        members = Payload(payload)
        members.required_text("schemaVersion")
        url = container_url(members.required_text("sasUrl"), self._parent_hostname)
        since, until = members.text("since"), members.text("until")
        runtime_only = members.truth("edgeRuntimeOnly")
        work = self._upload(url, since, until, runtime_only)
        return self._tasks.begin("upload support bundle", work)

    async def _upload(self, url: str, since: str | None, until: str | None, runtime_only: bool) -> None:
        content = await self._bundle(since, until, runtime_only)
        hub, device = self._place
        name = f"{hub}/{device}/support-bundle-{datetime.now(UTC):%Y-%m-%d--%H-%M-%S}.zip"
        headers = {"Content-Type": "application/zip", "Content-Encoding": "zip"}
        await self._uploader.upload(blob_url(url, name), content, headers)
