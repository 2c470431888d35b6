"""`iothub serve` with a hub that cannot go on."""

from __future__ import annotations

import asyncio
import gc
import importlib
from typing import TYPE_CHECKING

import pytest

from edgehub.errors import EdgehubError
from iothub.config import HubConfig

if TYPE_CHECKING:
    from pathlib import Path


class FailingHub:
    """Fails as soon as it has started."""

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.faulty = asyncio.Event()
        self.fault = ""
        self.stopped = False

    async def start(self) -> None:
        self.fault = "the store failed"
        self.faulty.set()

    async def stop(self) -> None:
        self.stopped = True


async def test_it_is_stopped_and_the_reason_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hubs: list[FailingHub] = []

    def make(config: HubConfig) -> FailingHub:
        hubs.append(FailingHub(config))
        return hubs[-1]

    serve = importlib.import_module("iothub.cli.serve")
    monkeypatch.setattr("iothub.server.HubServer", make)
    monkeypatch.setattr(serve, "_announce", lambda hub, as_json: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    with pytest.raises(EdgehubError, match="the store failed"):
        await serve._serve(HubConfig(tmp_path, "hub"), False)
    assert hubs[0].stopped
