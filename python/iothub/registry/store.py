"""Registry operations on the database. Synchronous, each one transaction; call from one thread at a time.

Etags come from one ever-growing revision, so an etag of a deleted identity never matches its successor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, select, update

from iothub.c2d.store import delete_messages
from iothub.errors import ErrorCode, HubError, argument_invalid, device_not_found, module_not_found
from iothub.registry.model import (
    MANAGED_BY_EDGE,
    SYSTEM_MODULES,
    Authentication,
    Device,
    DeviceRequest,
    KeyChoice,
    Module,
    ModuleRequest,
    check_match,
    generation_ticks,
    scope_of,
)
from iothub.registry.schema import devices, meta, modules
from iothub.twins.store import delete_twins, insert_twin

if TYPE_CHECKING:
    from collections.abc import Callable

LIST_MAX: Final = 1000
MODULES_PER_DEVICE_MAX: Final = 50
NESTING_MAX: Final = 5


def _authentication(row: Row[Any]) -> Authentication:
    return Authentication(
        row.auth_type, row.primary_key, row.secondary_key, row.primary_thumbprint, row.secondary_thumbprint
    )


def _device(row: Row[Any]) -> Device:
    return Device(
        row.device_id, row.generation_id, row.revision, _authentication(row), row.status, row.status_reason,
        row.status_updated_ms, row.iot_edge, row.device_scope, row.parent_scope,
    )  # fmt: skip


def _module(row: Row[Any]) -> Module:
    return Module(
        row.device_id, row.module_id, row.generation_id, row.revision, _authentication(row), row.managed_by
    )


def _auth_columns(auth: Authentication) -> dict[str, Any]:
    return {
        "auth_type": auth.type,
        "primary_key": auth.primary_key,
        "secondary_key": auth.secondary_key,
        "primary_thumbprint": auth.primary_thumbprint,
        "secondary_thumbprint": auth.secondary_thumbprint,
    }


def _device_columns(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "generation_id": device.generation_id,
        "revision": device.revision,
        "status": device.status,
        "status_reason": device.status_reason,
        "status_updated_ms": device.status_updated_ms,
        "iot_edge": device.iot_edge,
        "device_scope": device.device_scope,
        "parent_scope": device.parent_scope,
        **_auth_columns(device.authentication),
    }


class RegistryStore:
    """Devices and modules.

    :param clock: Unix time.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    # ---- reading

    def device(self, device_id: str) -> Device | None:
        """One device, or None."""
        with self._engine.connect() as connection:
            return self._find_device(connection, device_id)

    def module(self, device_id: str, module_id: str) -> Module | None:
        """One module, or None."""
        with self._engine.connect() as connection:
            return self._find_module(connection, device_id, module_id)

    def devices(self, top: int) -> list[Device]:
        """Up to `top` devices by id."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(devices).order_by(devices.c.device_id).limit(top))
            return [_device(row) for row in rows]

    def modules(self, device_id: str) -> list[Module]:
        """All modules of a device.

        :raises HubError: 404001.
        """
        with self._engine.connect() as connection:
            self._require_device(connection, device_id)
            return self._modules_of(connection, device_id)

    def counts(self) -> tuple[int, int]:
        """All devices and enabled ones."""
        with self._engine.connect() as connection:
            count = select(func.count()).select_from(devices)
            total = connection.scalar(count) or 0
            enabled = connection.scalar(count.where(devices.c.status == "enabled")) or 0
            return total, enabled

    def children(self, scope: str, after: str, limit: int) -> list[Device]:
        """Devices whose parent has this scope, by id, after `after`."""
        with self._engine.connect() as connection:
            wanted = select(devices).where((devices.c.parent_scope == scope) & (devices.c.device_id > after))
            return [
                _device(row) for row in connection.execute(wanted.order_by(devices.c.device_id).limit(limit))
            ]

    def parent(self, device: Device) -> Device | None:
        """The edge device above, or None."""
        if device.parent_scope is None:
            return None
        with self._engine.connect() as connection:
            return self._by_scope(connection, device.parent_scope)

    # ---- devices

    def put_device(self, request: DeviceRequest, if_match: str | None) -> Device:
        """Creates without `if_match`, updates with it.

        :raises HubError: 409001, 404001, 412001, 400028.
        """
        with self._engine.begin() as connection:
            old = self._find_device(connection, request.device_id)
            if if_match is None:
                if old is not None:
                    raise HubError(
                        ErrorCode.DeviceAlreadyExists, f"Device {request.device_id} is already registered."
                    )
                return self._create_device(connection, request)
            if old is None:
                raise device_not_found(request.device_id)
            check_match(if_match, old.etag)
            return self._update_device(connection, old, request)

    def _create_device(self, connection: Connection, request: DeviceRequest) -> Device:
        revision = self._next_revision(connection)
        generation = self._next_generation(connection)
        draft = Device(
            request.device_id, generation, revision, request.authentication, request.status,
            request.status_reason, None, request.iot_edge,
        )  # fmt: skip
        device = self._with_scopes(connection, draft, request)
        connection.execute(insert(devices).values(**_device_columns(device)))
        insert_twin(connection, device.device_id, None)
        if device.iot_edge:
            self._add_system_modules(connection, device)
        return device

    def _update_device(self, connection: Connection, old: Device, request: DeviceRequest) -> Device:
        status_changed = request.status != old.status
        draft = replace(
            old,
            revision=self._next_revision(connection),
            authentication=request.authentication,
            status=request.status,
            status_reason=request.status_reason,
            status_updated_ms=int(self._clock() * 1000) if status_changed else old.status_updated_ms,
            iot_edge=request.iot_edge,
        )
        device = self._with_scopes(connection, draft, request)
        if old.iot_edge and not device.iot_edge:
            self._orphan_children(connection, old)
        elif device.iot_edge and not old.iot_edge:
            self._add_system_modules(connection, device)
        where = devices.c.device_id == device.device_id
        connection.execute(update(devices).where(where).values(**_device_columns(device)))
        return device

    def delete_device(self, device_id: str, if_match: str | None) -> None:
        """Removes the device with its modules, twins and messages; its children lose their parent.

        :raises HubError: 404001, 412001.
        """
        with self._engine.begin() as connection:
            device = self._require_device(connection, device_id)
            check_match(if_match, device.etag)
            if device.iot_edge:
                self._orphan_children(connection, device)
            self._next_revision(connection)
            connection.execute(delete(modules).where(modules.c.device_id == device_id))
            connection.execute(delete(devices).where(devices.c.device_id == device_id))
            delete_twins(connection, device_id)
            delete_messages(connection, device_id)

    # ---- modules

    def put_module(self, request: ModuleRequest, if_match: str | None) -> Module:
        """Creates without `if_match`, updates with it.

        :raises HubError: 404001, 404010, 409301, 412001, 413003.
        """
        with self._engine.begin() as connection:
            self._require_device(connection, request.device_id)
            old = self._find_module(connection, request.device_id, request.module_id)
            if if_match is None:
                if old is not None:
                    text = f"Module {request.module_id} is already registered on device {request.device_id}."
                    raise HubError(ErrorCode.ModuleAlreadyExistsOnDevice, text)
                return self._create_module(connection, request)
            if old is None:
                raise module_not_found(request.device_id, request.module_id)
            check_match(if_match, old.etag)
            revision = self._next_revision(connection)
            module = replace(
                old, revision=revision, authentication=request.authentication, managed_by=request.managed_by
            )
            columns = {
                "revision": revision,
                "managed_by": module.managed_by,
                **_auth_columns(module.authentication),
            }
            connection.execute(update(modules).where(_module_key(module)).values(**columns))
            return module

    def _create_module(self, connection: Connection, request: ModuleRequest) -> Module:
        count = select(func.count()).select_from(modules).where(modules.c.device_id == request.device_id)
        if (connection.scalar(count) or 0) >= MODULES_PER_DEVICE_MAX:
            text = f"Device {request.device_id} has {MODULES_PER_DEVICE_MAX} modules, the most it can have."
            raise HubError(ErrorCode.TooManyModulesOnDevice, text)
        module = Module(
            request.device_id, request.module_id, self._next_generation(connection),
            self._next_revision(connection), request.authentication, request.managed_by,
        )  # fmt: skip
        self._insert_module(connection, module)
        return module

    def delete_module(self, device_id: str, module_id: str, if_match: str | None) -> None:
        """Removes a module and its twin.

        :raises HubError: 404001, 404010, 412001.
        """
        with self._engine.begin() as connection:
            self._require_device(connection, device_id)
            module = self._require_module(connection, device_id, module_id)
            check_match(if_match, module.etag)
            self._next_revision(connection)
            connection.execute(delete(modules).where(_module_key(module)))
            delete_twins(connection, device_id, module_id)

    # ---- both

    def renew_keys(self, device_id: str, module_id: str | None, choice: KeyChoice) -> Authentication:
        """Makes one or both keys of an identity anew.

        :raises HubError: 404001, 404010; 400003 for an identity without keys.
        """
        with self._engine.begin() as connection:
            device = self._require_device(connection, device_id)
            if module_id is None:
                renewed = device.authentication.with_new_keys(choice)
                change = update(devices).where(devices.c.device_id == device_id)
            else:
                module = self._require_module(connection, device_id, module_id)
                renewed = module.authentication.with_new_keys(choice)
                change = update(modules).where(_module_key(module))
            revision = self._next_revision(connection)
            connection.execute(change.values(revision=revision, **_auth_columns(renewed)))
            return renewed

    # ---- helpers inside a transaction

    @staticmethod
    def _find_device(connection: Connection, device_id: str) -> Device | None:
        row = connection.execute(select(devices).where(devices.c.device_id == device_id)).one_or_none()
        return None if row is None else _device(row)

    @staticmethod
    def _find_module(connection: Connection, device_id: str, module_id: str) -> Module | None:
        where = (modules.c.device_id == device_id) & (modules.c.module_id == module_id)
        row = connection.execute(select(modules).where(where)).one_or_none()
        return None if row is None else _module(row)

    @staticmethod
    def _modules_of(connection: Connection, device_id: str) -> list[Module]:
        wanted = select(modules).where(modules.c.device_id == device_id).order_by(modules.c.module_id)
        return [_module(row) for row in connection.execute(wanted)]

    def _require_device(self, connection: Connection, device_id: str) -> Device:
        device = self._find_device(connection, device_id)
        if device is None:
            raise device_not_found(device_id)
        return device

    def _require_module(self, connection: Connection, device_id: str, module_id: str) -> Module:
        module = self._find_module(connection, device_id, module_id)
        if module is None:
            raise module_not_found(device_id, module_id)
        return module

    @staticmethod
    def _by_scope(connection: Connection, scope: str) -> Device | None:
        """The edge device that owns a scope."""
        where = (devices.c.device_scope == scope) & (devices.c.iot_edge.is_(True))
        row = connection.execute(select(devices).where(where)).one_or_none()
        return None if row is None else _device(row)

    @staticmethod
    def _next_revision(connection: Connection) -> int:
        where = meta.c.name == "revision"
        connection.execute(update(meta).where(where).values(value=meta.c.value + 1))
        return int(connection.scalar(select(meta.c.value).where(where)) or 0)

    def _next_generation(self, connection: Connection) -> str:
        """Ticks of now, but always above the last one: generations never repeat, even if the clock is set
        back."""
        where = meta.c.name == "generation"
        last = connection.scalar(select(meta.c.value).where(where))
        ticks = max(generation_ticks(self._clock()), (last or 0) + 1)
        if last is None:
            connection.execute(insert(meta).values(name="generation", value=ticks))
        else:
            connection.execute(update(meta).where(where).values(value=ticks))
        return str(ticks)

    def _with_scopes(self, connection: Connection, device: Device, request: DeviceRequest) -> Device:
        """Fills in scopes: an edge device owns one and may have a parent; a leaf shows its parent's twice."""
        own = scope_of(device.device_id, device.generation_id)
        parent_scope = request.parent_scope
        if device.iot_edge:
            if request.device_scope not in (None, own):
                raise HubError(
                    ErrorCode.InvalidDeviceScope, "An edge device's own deviceScope cannot be chosen."
                )
        else:
            parent_scope = request.device_scope or parent_scope
            if request.device_scope and request.parent_scope and request.device_scope != request.parent_scope:
                raise HubError(
                    ErrorCode.InvalidDeviceScope, "deviceScope and parentScopes of a leaf must agree."
                )
        if parent_scope is not None:
            self._check_parent(connection, device, parent_scope)
        return replace(
            device, device_scope=own if device.iot_edge else parent_scope, parent_scope=parent_scope
        )

    def _check_parent(self, connection: Connection, device: Device, scope: str) -> None:
        parent = self._by_scope(connection, scope)
        if parent is None:
            raise HubError(
                ErrorCode.InvalidDeviceScope, f"{scope} is not the scope of an edge device of this hub."
            )
        above: Device | None = parent
        edges = 0
        while above is not None and edges <= NESTING_MAX:
            if above.device_id == device.device_id:
                raise HubError(ErrorCode.InvalidDeviceScope, f"{scope} lies below {device.device_id} itself.")
            edges += 1
            above = self._by_scope(connection, above.parent_scope) if above.parent_scope else None
        if device.iot_edge and edges >= NESTING_MAX:
            raise HubError(
                ErrorCode.InvalidDeviceScope, f"edge devices can be nested {NESTING_MAX} levels deep."
            )

    def _orphan_children(self, connection: Connection, device: Device) -> None:
        scope = scope_of(device.device_id, device.generation_id)
        below = devices.c.parent_scope == scope
        leaves = below & devices.c.iot_edge.is_(False)
        connection.execute(update(devices).where(leaves).values(device_scope=None))
        connection.execute(update(devices).where(below).values(parent_scope=None))

    def _add_system_modules(self, connection: Connection, device: Device) -> None:
        """`$edgeAgent` and `$edgeHub` exist from the start; the agent's identity service or the CLI sets
        their keys."""
        for name in SYSTEM_MODULES:
            if self._find_module(connection, device.device_id, name) is None:
                module = Module(
                    device.device_id, name, self._next_generation(connection),
                    self._next_revision(connection), Authentication("none"), MANAGED_BY_EDGE,
                )  # fmt: skip
                self._insert_module(connection, module)

    @staticmethod
    def _insert_module(connection: Connection, module: Module) -> None:
        columns = {
            "device_id": module.device_id,
            "module_id": module.module_id,
            "generation_id": module.generation_id,
            "revision": module.revision,
            "managed_by": module.managed_by,
            **_auth_columns(module.authentication),
        }
        connection.execute(insert(modules).values(**columns))
        insert_twin(connection, module.device_id, module.module_id)


def _module_key(module: Module) -> ColumnElement[bool]:
    return (modules.c.device_id == module.device_id) & (modules.c.module_id == module.module_id)


def check_top(text: str | None) -> int:
    """`top` of a listing: 1 to 1000, everything else means 1000 (row 80).

    :raises HubError: 400004 for what is not a number.
    """
    if not text:
        return LIST_MAX
    try:
        top = int(text)
    except ValueError:
        raise argument_invalid(f"top must be a number, not {text!r}.") from None
    return top if 1 <= top <= LIST_MAX else LIST_MAX
