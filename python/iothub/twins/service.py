"""Twins for the event loop: async operations and notifications to those who subscribed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iothub.errors import HubError, device_not_found, module_not_found
from iothub.twins import model
from iothub.twins.model import Twin, TwinChange, TwinRequest
from iothub.twins.store import load_twin, save_twin

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from iothub.database import Database

DesiredListener = Callable[[dict[str, Any], int], None]
"""Called with a patch (without `$version`) and its version."""

TwinEdit = Callable[[Twin, TwinRequest, str | None, float], TwinChange]


class Twins:
    """Twin operations. Changes of one twin are seen by its subscribers in version order."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._listeners: defaultdict[tuple[str, str | None], list[DesiredListener]] = defaultdict(list)

    def subscribe(
        self, device_id: str, module_id: str | None, listener: DesiredListener
    ) -> Callable[[], None]:
        """Hears desired changes of one identity until the returned function is called."""
        key = (device_id, module_id)
        self._listeners[key].append(listener)

        def cancel() -> None:
            listeners = self._listeners.get(key, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(key, None)

        return cancel

    async def get(self, device_id: str, module_id: str | None) -> Twin:
        """The twin.

        :raises HubError: 404001 or 404010.
        """

        def work() -> Twin:
            with self._database.engine.connect() as connection:
                return _require(connection, device_id, module_id)

        return await self._database.run(work)

    async def patch(
        self, device_id: str, module_id: str | None, request: TwinRequest, if_match: str | None
    ) -> Twin:
        """Service side: merge-patch of tags and desired.

        :raises HubError: 404001, 404010, 412001, 400004.
        """
        return await self._edit(device_id, module_id, request, if_match, model.patch_twin)

    async def replace(
        self, device_id: str, module_id: str | None, request: TwinRequest, if_match: str | None
    ) -> Twin:
        """Service side: replaces tags and desired.

        :raises HubError: 404001, 404010, 412001, 400004.
        """
        return await self._edit(device_id, module_id, request, if_match, model.replace_twin)

    async def _edit(
        self,
        device_id: str,
        module_id: str | None,
        request: TwinRequest,
        if_match: str | None,
        edit: TwinEdit,
    ) -> Twin:
        def work() -> TwinChange:
            with self._database.engine.begin() as connection:
                twin = _require(connection, device_id, module_id)
                change = edit(twin, request, if_match, self._clock())
                save_twin(connection, device_id, module_id, change.twin)
                return change

        change = await self._database.run(work)
        if change.notification is not None:
            for listener in list(self._listeners.get((device_id, module_id), ())):
                listener(change.notification, change.twin.desired.version)
        return change.twin

    async def report(
        self,
        device_id: str,
        module_id: str | None,
        patch: dict[str, Any],
        expected_version: int | None = None,
    ) -> Twin:
        """Device side: merge-patch of reported.

        :raises HubError: 404001, 404010, 412001, 400004.
        """

        def work() -> Twin:
            with self._database.engine.begin() as connection:
                twin = _require(connection, device_id, module_id)
                changed = model.report(twin, patch, expected_version, self._clock())
                if changed is not twin:
                    save_twin(connection, device_id, module_id, changed)
                return changed

        return await self._database.run(work)


def _require(connection: Connection, device_id: str, module_id: str | None) -> Twin:
    twin = load_twin(connection, device_id, module_id)
    if twin is None:
        raise _missing(device_id, module_id)
    return twin


def _missing(device_id: str, module_id: str | None) -> HubError:
    return device_not_found(device_id) if module_id is None else module_not_found(device_id, module_id)
