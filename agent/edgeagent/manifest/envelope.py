"""The forms in which people keep a deployment, and where the agent's part is in them (agent spec 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgeagent.manifest.errors import ManifestFormatError
from edgeagent.manifest.fields import json_type
from edgeagent.model.module import EDGE_AGENT

FILE_BYTES_MAX = 4 * 1024 * 1024
DESIRED = "properties.desired"


def read_manifest_text(text: bytes) -> Any:
    """The desired properties of `$edgeAgent` in a file.

    Taken are a whole deployment (`modulesContent`, with or without `content` around it), one module's
    `properties.desired`, and the desired properties alone.

    :raises ManifestFormatError: not JSON, too long, or a layer that says only what it adds to others.
    """
    if len(text) > FILE_BYTES_MAX:
        raise ManifestFormatError("", f"{len(text)} bytes; at most {FILE_BYTES_MAX} are read")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ManifestFormatError("", f"not JSON: {fault}") from None
    return desired_of(document)


def desired_of(document: Any) -> Any:
    """As :func:`read_manifest_text`, of decoded JSON."""
    if not isinstance(document, Mapping):
        raise ManifestFormatError("", f"expected a JSON object, found {json_type(document)}")
    inner = document.get("content")
    if isinstance(inner, Mapping) and "modulesContent" in inner:
        document = inner
    if "modulesContent" in document:
        document = _agent_content(document["modulesContent"])
    return document.get(DESIRED, document)


def _agent_content(modules: Any) -> Mapping[str, Any]:
    name = f"${EDGE_AGENT}"
    content = modules.get(name) if isinstance(modules, Mapping) else None
    if not isinstance(content, Mapping):
        raise ManifestFormatError(f"modulesContent.{name}", "is missing")
    if DESIRED not in content and any(key.startswith(f"{DESIRED}.") for key in content):
        raise ManifestFormatError(
            f"modulesContent.{name}",
            "a layered deployment, which only adds to a base; give the whole as properties.desired",
        )
    return content
