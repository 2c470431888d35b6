"""What the hub knows about the twin of one client. Pure: every change gives a new record (heads spec 7)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgehub.common.merge_patch import Gathered, difference, merge
from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from edgehub.common.merge_patch import Object

NOTHING = Gathered()
VERSION = "$version"
_FORMAT = 1


class TwinFormatError(EdgehubError):
    """A stored twin that cannot be read."""


@dataclass(frozen=True, slots=True)
class TwinRecord:
    """One twin.

    :ivar desired: the last known desired properties with `$version`; None if they were never read.
    :ivar reported: the last known reported properties, with `$version` if they were ever read; what the
        client reported since is in them.
    :ivar sending: reported patches on their way to the parent hub, or that did not arrive.
    :ivar waiting: those that came since.
    """

    desired: Object | None = None
    reported: Object = field(default_factory=dict)
    sending: Gathered = NOTHING
    waiting: Gathered = NOTHING

    @property
    def pending(self) -> Gathered:
        """All reported patches that the parent hub may not have."""
        return self.sending.then(self.waiting) if self.waiting else self.sending

    @property
    def view(self) -> Object:
        """What the client reads (T-004, T-005, DEV-19)."""
        return {"desired": self.desired or {}, "reported": self.reported}

    def reported_by_client(self, patch: Object) -> TwinRecord:
        """After a reported patch: nulls delete here, and are kept for the parent hub (T-007)."""
        return replace(self, reported=merge(self.reported, patch), waiting=self.waiting.plus(patch))

    def read(self, desired: Object, reported: Object) -> TwinRecord:
        """After the whole twin came from the parent hub: what it may not have yet is put over it."""
        return replace(self, desired=desired, reported=self.pending.apply(reported))

    def missed(self, desired: Object) -> Object | None:
        """What a client that knows the stored desired properties has to be told, `$version` included; None
        when nothing changed, or nothing was stored (T-009, T-010)."""
        if self.desired is None:
            return None
        return difference(self.desired, desired) or None

    def follows(self, patch: Object) -> bool:
        """Whether a desired patch is the next one after what is stored."""
        if self.desired is None:
            return False
        known, version = self.desired.get(VERSION), patch.get(VERSION)
        return isinstance(known, int) and isinstance(version, int) and version == known + 1

    def desired_by_parent(self, patch: Object) -> TwinRecord:
        """After a desired patch that `follows`."""
        return replace(self, desired=merge(self.desired or {}, patch))

    # Sending. What is on its way stays in the record until it has arrived, so that a crash loses nothing;
    # sent twice it does the same as once.

    def begin_sending(self) -> TwinRecord:
        """All that waits is to be sent now."""
        return replace(self, sending=self.pending, waiting=NOTHING)

    def sent(self, version: int | None = None) -> TwinRecord:
        """What was to be sent has arrived, or was refused for good.

        :param version: of the reported properties then, if the parent hub told it.
        """
        reported = self.reported if version is None else {**self.reported, VERSION: version}
        return replace(self, reported=reported, sending=NOTHING)


def encode_twin(record: TwinRecord) -> bytes:
    """JSON of what is known, without what waits to be sent."""
    return _encode({"desired": record.desired, "reported": record.reported})


def encode_pending(record: TwinRecord) -> bytes | None:
    """JSON of what waits to be sent, None if nothing does. What is on its way counts as waiting."""
    pending = record.pending
    return _encode({"clear": pending.clear, "patch": pending.patch}) if pending else None


def decode_record(twin: bytes | None, pending: bytes | None) -> TwinRecord:
    """Reads what `encode_twin` and `encode_pending` wrote.

    :raises TwinFormatError: damaged, or written by a newer version.
    """
    record = TwinRecord()
    try:
        if twin is not None:
            document = _decode(twin)
            desired = None if document["desired"] is None else _object(document["desired"])
            record = TwinRecord(desired, _object(document["reported"]))
        if pending is not None:
            document = _decode(pending)
            waiting = Gathered(_object(document["clear"]), _object(document["patch"]))
            record = replace(record, waiting=waiting)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TwinFormatError(f"stored twin cannot be read: {error!r}") from None
    return record


def _encode(document: Object) -> bytes:
    return json.dumps({"format": _FORMAT, **document}, separators=(",", ":")).encode()


def _decode(data: bytes) -> Object:
    document = _object(json.loads(data))
    if document["format"] != _FORMAT:
        raise TwinFormatError(f"stored twin has format {document['format']}, expected {_FORMAT}")
    return document


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise TypeError(f"not an object: {value!r:.50}")
    return value
