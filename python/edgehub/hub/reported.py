"""Reported properties of `$edgeHub`, gathered into patches (heads spec 5.2, settings spec 3.4).

Pure state: events go in, the patch to send comes out. While the parent hub is away changes merge, so the
size is bounded by the number of identities.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId

if TYPE_CHECKING:
    from edgehub.hub.routes import ConfigStatus

REPORTED_SCHEMA = "1.0"

DESCRIPTION_BYTES_MAX = 4096
"""What a value of a twin may have; descriptions quote the configuration, and are cut there."""

Patch = dict[str, Any]


class ReportedState:
    """What the parent hub has not been told yet."""

    def __init__(self, version: str) -> None:
        # The map of clients is cleared first, in a patch of its own: a merge cannot clear and set at once.
        self._reset: Patch | None = {
            "schemaVersion": REPORTED_SCHEMA,
            "version": {"version": version, "build": "", "commit": ""},
            "clients": None,
        }
        self._status: Patch = {}
        self._clients: Patch = {}

    @property
    def pending(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._reset or self._status or self._clients)

    def configured(self, status: ConfigStatus) -> None:
        """A desired document or patch was applied or refused."""
        if status.version is not None:
            self._status["lastDesiredVersion"] = status.version
        description = status.description.encode(errors="replace")[:DESCRIPTION_BYTES_MAX].decode(
            errors="ignore"
        )
        self._status["lastDesiredStatus"] = {"code": status.code, "description": description}

    def connected(self, identity: IdentityId, now_s: float) -> None:
        """A client connected."""
        if identity.module_id != EDGE_HUB_MODULE_ID:
            self._merge_client(identity, {"status": "Connected", "lastConnectedTimeUtc": utc_text(now_s)})

    def disconnected(self, identity: IdentityId, now_s: float) -> None:
        """A client left: a device disappears from the map, a module stays as disconnected."""
        if identity.module_id == EDGE_HUB_MODULE_ID:
            return
        if identity.is_module:
            self._merge_client(
                identity, {"status": "Disconnected", "lastDisconnectedTimeUtc": utc_text(now_s)}
            )
        else:
            self._clients[client_key(identity)] = None

    def take(self) -> Patch | None:
        """The next patch to send, None when there is nothing. It counts as sent unless `put_back` follows."""
        if self._reset is not None:
            patch, self._reset = self._reset, None
            return patch
        if not self.pending:
            return None
        # An empty map of clients tells older tools that no client changed.
        patch = {**self._status, "clients": self._clients}
        self._status, self._clients = {}, {}
        return patch

    def put_back(self, patch: Patch) -> None:
        """Returns a patch that could not be sent; what happened since wins over it."""
        if "schemaVersion" in patch:
            self._reset = patch
            return
        clients = patch.get("clients", {})
        self._status = {**{key: value for key, value in patch.items() if key != "clients"}, **self._status}
        merged = dict(clients)
        for key, value in self._clients.items():
            before = merged.get(key)
            merged[key] = {**before, **value} if before is not None and value is not None else value
        self._clients = merged

    def refused(self, patch: Patch) -> None:
        """A patch that will never be taken, mostly because the twin has no room for so many clients. What
        makes it smaller is tried again, and then the status alone."""
        clients = patch.get("clients")
        if clients:
            gone = {key: None for key, entry in clients.items() if entry is None}
            self.put_back({**patch, "clients": gone if len(gone) < len(clients) else {}})

    def _merge_client(self, identity: IdentityId, entry: dict[str, str]) -> None:
        key = client_key(identity)
        self._clients[key] = {**(self._clients.get(key) or {}), **entry}


def client_key(identity: IdentityId) -> str:
    """An id as a key of the twin: `.`, `$` and space are encoded, `/` stays (I-023)."""
    return str(identity).replace(".", "%2E").replace("$", "%24").replace(" ", "%20")


def utc_text(wall_s: float) -> str:
    """ISO 8601 with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(wall_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
