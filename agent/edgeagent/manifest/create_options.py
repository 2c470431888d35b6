"""`createOptions`: a JSON text in up to a hundred pieces, or an object (agent spec 1.5).

A string of a twin is limited, so longer texts are spread over `createOptions`, `createOptions01`, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgeagent.manifest.errors import ManifestFormatError
from edgeagent.manifest.fields import Fields, json_type

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELD = "createOptions"
PIECE_CHARS_MAX = 512
PIECES_MAX = 100

_SHAPES: dict[str, tuple[type, str]] = {
    "Env": (list, "an array"),
    "Labels": (Mapping, "an object"),
    "HostConfig": (Mapping, "an object"),
    "HostConfig.Binds": (list, "an array"),
    "HostConfig.CapAdd": (list, "an array"),
    "HostConfig.CapDrop": (list, "an array"),
    "NetworkingConfig": (Mapping, "an object"),
    "NetworkingConfig.EndpointsConfig": (Mapping, "an object"),
}


def read_create_options(settings: Fields) -> Mapping[str, Any]:
    """The options of a module's `settings`; nothing, blank and null mean none.

    :raises ManifestFormatError: a piece is missing, or it is not the JSON of an object.
    """
    whole = settings.get(FIELD)
    pieces = list(settings.starting_with(FIELD).items())
    if isinstance(whole, Mapping) and len(pieces) == 1:
        options = whole
    else:
        options = _decoded("".join(_in_order(settings, pieces)), settings.place(FIELD))
    _check_shapes(options, settings.place(FIELD))
    return options


def _in_order(settings: Fields, pieces: list[tuple[str, Any]]) -> Iterator[str]:
    for number, (name, piece) in enumerate(pieces):
        found = name[len(FIELD) :]
        expected = f"{number:02d}" if number else ""
        if found != expected:
            raise ManifestFormatError(settings.place(FIELD), _gap(number, found))
        if piece is not None and not isinstance(piece, str):
            kinds = "a string" if len(pieces) > 1 else "a string or an object"
            raise ManifestFormatError(
                settings.place(f"{FIELD}{found}"), f"expected {kinds}, found {json_type(piece)}"
            )
        yield piece or ""


def _gap(number: int, found: str) -> str:
    start = f'Error while parsing chunked field "{FIELD}", expected '
    if number == 0:
        return f'{start}empty field number but found "{found}"'
    return f"{start}{FIELD}{number:02d} found {FIELD}{found}"


def _check_shapes(options: Mapping[str, Any], place: str) -> None:
    """What the agent adds to must have the shape that the engine wants; the rest is the engine's to judge."""
    for path, (kind, wanted) in _SHAPES.items():
        value: Any = options
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, kind):
            raise ManifestFormatError(f"{place}.{path}", f"expected {wanted}, found {json_type(value)}")
    for path, value in (("Env", options.get("Env")), ("HostConfig.Binds", _binds(options))):
        if not all(isinstance(item, str) for item in value or ()):
            raise ManifestFormatError(f"{place}.{path}", "expected strings alone")


def _binds(options: Mapping[str, Any]) -> Any:
    return (options.get("HostConfig") or {}).get("Binds")


def _decoded(text: str, place: str) -> Mapping[str, Any]:
    if not text.strip():
        return {}
    try:
        options = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as fault:
        raise ManifestFormatError(place, f"not JSON: {fault}") from None
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ManifestFormatError(place, f"expected an object, found {json_type(options)}")
    return options


def in_pieces(text: str) -> dict[str, str]:
    """The members that hold create options in a twin, in pieces of 512 characters (row M23).

    :raises ValueError: more than a hundred pieces.
    """
    pieces = [text[start : start + PIECE_CHARS_MAX] for start in range(0, len(text), PIECE_CHARS_MAX)] or [""]
    if len(pieces) > PIECES_MAX:
        raise ValueError(
            f"create options of {len(text)} characters; at most {PIECES_MAX * PIECE_CHARS_MAX} fit"
        )
    return {FIELD + (f"{number:02d}" if number else ""): piece for number, piece in enumerate(pieces)}
