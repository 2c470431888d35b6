"""Desired properties of `$edgeHub` in a file: for runs without a parent hub and for checking routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from pathlib import Path

    from edgehub.common.json_types import Json

FILE_BYTES_MAX = 4 * 1024 * 1024


class DesiredFileError(EdgehubError):
    """A file that holds no desired properties of `$edgeHub`."""


def read_desired_file(path: Path) -> dict[str, Any]:
    """Reads the desired properties from a file that holds them alone, or a whole deployment manifest.

    :raises DesiredFileError: the file cannot be read, is not JSON, or has neither form.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise DesiredFileError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        document = msgspec.json.decode(data)
    except OSError as error:
        raise DesiredFileError(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise DesiredFileError(f"{path}: not JSON: {error}") from None
    found = _desired_of(document)
    if found is None:
        raise DesiredFileError(
            f"{path}: expected the desired properties of $edgeHub (with schemaVersion and routes), "
            "or a deployment manifest with modulesContent.$edgeHub"
        )
    return dict(found)


def _desired_of(document: Json) -> Mapping[str, Any] | None:
    if not isinstance(document, Mapping):
        return None
    if "schemaVersion" in document or "routes" in document:
        return document
    content = document.get("content")
    modules = document.get("modulesContent")
    if modules is None and isinstance(content, Mapping):
        modules = content.get("modulesContent")
    hub = modules.get("$edgeHub") if isinstance(modules, Mapping) else None
    if not isinstance(hub, Mapping):
        return None
    if isinstance(hub.get("properties.desired"), Mapping):
        return _mapping(hub["properties.desired"])
    properties = hub.get("properties")
    return _mapping(properties.get("desired")) if isinstance(properties, Mapping) else None


def _mapping(value: Json) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
