"""Paths of the REST API: literals match in any case, ids are percent-decoded once and keep theirs (section
2.2)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from iothub.errors import ErrorCode, HubError

_API_VERSION: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:-preview)?", re.ASCII)
API_VERSION_MIN: Final = "2016-02-03"
API_VERSION_MAX: Final = "2024-03-31"
PATH_CHARS_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class Call:
    """One request after routing.

    :ivar ids: the variable parts of the path, in order.
    :ivar leave: gives the request's place to another one, while this one waits for somebody else.
    """

    request: web.Request
    ids: tuple[str, ...]
    leave: Callable[[], None] = lambda: None

    @property
    def if_match(self) -> str | None:
        """`If-Match` header."""
        return self.request.headers.get("If-Match")


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Router:
    """Finds the handler for a method and path; `{}` in a pattern takes one segment."""

    def __init__(self) -> None:
        self._routes: dict[int, list[tuple[tuple[str, ...], dict[str, Handler]]]] = {}

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """Registers a handler; more literal patterns must be added first."""
        parts = tuple(part.lower() for part in pattern.strip("/").split("/"))
        same_length = self._routes.setdefault(len(parts), [])
        for known, methods in same_length:
            if known == parts:
                methods[method] = handler
                return
        same_length.append((parts, {method: handler}))

    def find(self, method: str, raw_path: str) -> tuple[Handler, tuple[str, ...]]:
        """Handler and ids.

        :raises HubError: 404000 for an unknown path, 405000 for a method it does not have.
        """
        if len(raw_path) > PATH_CHARS_MAX:
            raise HubError(
                ErrorCode.GenericBadRequest, f"The path has more than {PATH_CHARS_MAX} characters."
            )
        segments = path_of(raw_path)
        for parts, methods in self._routes.get(len(segments), ()):
            ids = _match(parts, segments)
            if ids is None:
                continue
            handler = methods.get(method)
            if handler is None:
                known = ", ".join(sorted(methods))
                raise HubError(ErrorCode.GenericMethodNotAllowed, f"This path takes {known}, not {method}.")
            return handler, ids
        raise HubError(ErrorCode.GenericNotFound, f"There is nothing at {raw_path[:200]}.")


def path_of(raw_path: str) -> list[str]:
    """Segments of a path, decoded."""
    return [unquote(part) for part in raw_path.strip("/").split("/")]


def _match(parts: tuple[str, ...], segments: list[str]) -> tuple[str, ...] | None:
    ids = []
    for part, segment in zip(parts, segments, strict=True):
        if part == "{}":
            ids.append(segment)
        elif part != segment.lower():
            return None
    return tuple(ids)


def check_api_version(version: str | None) -> None:
    """Any known date is taken, with or without `-preview`.

    :raises HubError: 400001.
    """
    matched = _API_VERSION.fullmatch(version or "")
    if matched is None or not API_VERSION_MIN <= matched[1] <= API_VERSION_MAX:
        text = f"api-version must be a date from {API_VERSION_MIN} to {API_VERSION_MAX}, not {version!r}."
        raise HubError(ErrorCode.InvalidProtocolVersion, text)
