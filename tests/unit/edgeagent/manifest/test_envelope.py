"""Files in which people keep deployments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeagent.manifest.envelope import FILE_BYTES_MAX, read_manifest_text
from edgeagent.manifest.errors import ManifestFormatError

DESIRED = {"schemaVersion": "1.1"}


@pytest.mark.parametrize(
    "document",
    [
        DESIRED,
        {"properties.desired": DESIRED},
        {"modulesContent": {"$edgeAgent": {"properties.desired": DESIRED}, "$edgeHub": {}}},
        {"content": {"modulesContent": {"$edgeAgent": {"properties.desired": DESIRED}}}},
    ],
)
def test_every_form_gives_the_same(document: Any) -> None:
    assert read_manifest_text(json.dumps(document).encode()) == DESIRED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b'{"a":', "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected a JSON object, found an array"),
        (b" " * (FILE_BYTES_MAX + 1), "bytes; at most"),
        (b'{"modulesContent":{}}', "modulesContent.$edgeAgent: is missing"),
        (b'{"modulesContent":5}', "modulesContent.$edgeAgent: is missing"),
        (b'{"modulesContent":{"$edgeAgent":{"properties.desired.modules.x":{}}}}', "a layered deployment"),
    ],
)
def test_what_is_wrong_with_a_file(text: bytes, why: str) -> None:
    with pytest.raises(ManifestFormatError) as fault:
        read_manifest_text(text)
    assert why in str(fault.value)
