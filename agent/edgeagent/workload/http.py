"""What the APIs on unix sockets have in common, without I/O: a request and its parts (agent spec 7.1)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from edgeagent.workload.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

API_VERSIONS = (
    "2018-06-28",
    "2019-01-30",
    "2019-10-22",
    "2019-11-05",
    "2020-07-07",
    "2021-12-07",
    "2022-08-03",
)
QUERY_FIELDS_MAX = 20
_SHOWN_CHARS_MAX = 64

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came.

    :param target: path and query, not decoded.
    :param content_type: value of the header, None without one.
    """

    verb: str
    target: str
    content_type: str | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON content; None for no content at all."""

    status: int
    content: Any = field(default=None, repr=False)

    def encoded(self) -> bytes:
        return b"" if self.content is None else msgspec.json.encode(self.content)


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """An answer that comes bit by bit.

    :param release: is called at the end, however it comes.
    """

    content_type: str
    pieces: AsyncIterator[bytes] = field(repr=False)
    release: Callable[[], Awaitable[object]] = field(repr=False)
    status: int = 200


def refusal(status: int, message: str) -> Answer:
    """An error as every call answers it."""
    return Answer(status, {"message": message})


def not_found() -> RequestRefused:
    return RequestRefused(404, "not found")


def split_target(target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Decoded path segments and query fields; of a field that stands twice the first counts.

    :raises RequestRefused: 404 for a path that is not UTF-8, 400 for a query that cannot be read.
    """
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/"):
        raise not_found()
    try:
        segments = tuple(unquote_to_bytes(each).decode() for each in path[1:].split("/"))
    except UnicodeError:
        raise not_found() from None
    fields: dict[str, str] = {}
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX):
            fields.setdefault(name, value)
    except ValueError:
        raise RequestRefused(400, f"more than {QUERY_FIELDS_MAX} query parameters") from None
    return segments, fields


def check_api_version(query: dict[str, str]) -> str:
    """The version asked for (row W01).

    :raises RequestRefused: 400, missing or unknown.
    """
    version = query.get("api-version")
    if version is None:
        raise RequestRefused(400, "api-version not specified")
    if version not in API_VERSIONS:
        raise RequestRefused(400, f'invalid api-version "{version[:_SHOWN_CHARS_MAX]}"')
    return version


def check_verb(request: Request, *verbs: str) -> None:
    """:raises RequestRefused: 400; not 405, as in the reference."""
    if request.verb not in verbs:
        raise RequestRefused(400, "method not allowed")


def json_body(request: Request, shape: type[Body], missing: str = "missing request body") -> Body:
    """The body of a request that needs one.

    Without a `Content-Type` it is taken for JSON, as the Python SDK sends none; with another one it counts
    as absent, except in a PUT (row W03).

    :param shape: type that msgspec decodes to.
    :raises RequestRefused: 400 absent, 415 wrong type of a PUT, 422 not JSON or of another shape.
    """
    if not is_json(request.content_type):
        if request.verb == "PUT":
            raise RequestRefused(415, "request body must be application/json")
        raise RequestRefused(400, missing)
    if not request.body:
        raise RequestRefused(400, missing)
    try:
        return msgspec.json.decode(request.body, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestRefused(422, f"request body: {error}") from None


def is_json(content_type: str | None) -> bool:
    """Whether a body counts as JSON; parameters such as the charset do not matter."""
    return content_type is None or content_type.partition(";")[0].strip().lower() == "application/json"


def from_base64(name: str, text: str) -> bytes:
    """A field of a body (row W05).

    :raises RequestRefused: 400, not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestRefused(400, f"invalid parameter: {name}: {error}") from None


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
