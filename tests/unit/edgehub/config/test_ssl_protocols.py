"""`SslProtocols` (I-019)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgehub.config.load import load_settings
from edgehub.config.ssl_protocols import read_ssl_protocols, write_ssl_protocols

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/settings/ssl_protocols.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["lists"], ids=lambda vector: vector["text"] or "empty")
def test_lists(vector: dict[str, Any]) -> None:
    read = read_ssl_protocols(vector["text"])
    assert list(read.versions) == vector["versions"]
    assert list(read.unknown) == vector["unknown"]
    loaded = load_settings({"SslProtocols": vector["text"]})
    assert loaded.settings.clients.tls_versions == read.versions
    assert all(name in "".join(loaded.warnings) for name in vector["unknown"])
    assert len(loaded.warnings) == (1 if vector["unknown"] else 0)


def test_what_is_written_is_read_back() -> None:
    for versions in (("1.2",), ("1.3",), ("1.2", "1.3")):
        assert read_ssl_protocols(write_ssl_protocols(versions)).versions == versions
