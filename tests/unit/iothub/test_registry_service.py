"""The registry for the event loop: what it keeps in memory must not outlive a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from iothub.errors import ErrorCode, HubError
from iothub.registry.model import parse_device
from unit.iothub.hub_rig import hub

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_change_whose_end_is_unknown_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks during the commit: the change may have been made."""
    async with hub(tmp_path) as rig:
        await rig.device("d1")
        assert (await rig.authorizer.require_identity("d1", None)).device.enabled
        store = rig.registry._store
        put = store.put_device

        def broken(*parts: Any) -> None:
            put(*parts)
            raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

        monkeypatch.setattr(store, "put_device", broken)
        heard: list[str] = []
        rig.registry.listen(lambda device_id, _: heard.append(device_id))
        with pytest.raises(HubError) as caught:
            await rig.registry.put_device(parse_device("d1", {"status": "disabled"}), "*")
        assert caught.value.code is ErrorCode.ServiceUnavailable
        assert heard == ["d1"]
        with pytest.raises(HubError) as caught:
            await rig.authorizer.require_identity("d1", None)
        assert caught.value.code is ErrorCode.DeviceDisabled
