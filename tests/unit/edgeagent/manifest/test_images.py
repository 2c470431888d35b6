"""Which registry an image comes from (row C14)."""

from __future__ import annotations

import pytest

from edgeagent.manifest.images import DOCKER_HUB, registry_of


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("alpine", None),
        ("alpine:3", None),
        ("user/x", DOCKER_HUB),
        ("reg.example.net/x", "reg.example.net"),
        ("reg.example.net:5000/a/b:1", "reg.example.net:5000"),
        ("localhost:5000/x", "localhost:5000"),
    ],
)
def test_c14_registry(image: str, registry: str | None) -> None:
    assert registry_of(image) == registry
