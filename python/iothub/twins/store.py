"""Twins in the registry database. Synchronous; one transaction is the caller's `Connection`."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from iothub.registry.schema import twins
from iothub.twins.model import Section, Twin


def _key(device_id: str, module_id: str | None) -> ColumnElement[bool]:
    return (twins.c.device_id == device_id) & (twins.c.module_id == (module_id or ""))


def _columns(twin: Twin) -> dict[str, Any]:
    def text(value: dict[str, Any]) -> str:
        return msgspec.json.encode(value).decode()

    return {
        "tags": text(twin.tags),
        "desired": text(twin.desired.values),
        "desired_metadata": text(twin.desired.metadata),
        "desired_version": twin.desired.version,
        "reported": text(twin.reported.values),
        "reported_metadata": text(twin.reported.metadata),
        "reported_version": twin.reported.version,
        "version": twin.version,
        "etag": twin.change,
    }


def _section(row: Row[Any], name: str) -> Section:
    decode = msgspec.json.decode
    values = decode(getattr(row, name))
    metadata = decode(getattr(row, f"{name}_metadata"))
    return Section(values, metadata, getattr(row, f"{name}_version"))


def load_twin(connection: Connection, device_id: str, module_id: str | None) -> Twin | None:
    """The twin, or None."""
    row = connection.execute(select(twins).where(_key(device_id, module_id))).one_or_none()
    if row is None:
        return None
    return Twin(
        msgspec.json.decode(row.tags),
        _section(row, "desired"),
        _section(row, "reported"),
        row.version,
        row.etag,
    )


def insert_twin(connection: Connection, device_id: str, module_id: str | None) -> None:
    """A fresh twin for a new identity."""
    connection.execute(
        insert(twins).values(device_id=device_id, module_id=module_id or "", **_columns(Twin()))
    )


def save_twin(connection: Connection, device_id: str, module_id: str | None, twin: Twin) -> None:
    """Overwrites the twin."""
    connection.execute(update(twins).where(_key(device_id, module_id)).values(**_columns(twin)))


def delete_twins(connection: Connection, device_id: str, module_id: str | None = None) -> None:
    """Removes a module's twin, or all twins of a device."""
    where = twins.c.device_id == device_id if module_id is None else _key(device_id, module_id)
    connection.execute(delete(twins).where(where))
