"""Where twins of clients are kept between restarts: what is known, and what waits to be sent, apart.

Records of which something waits are in memory, too: their number is that of clients, and each is bounded.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edgehub.common.ids import IdentityId
from edgehub.common.state import StateError, log_failure
from edgehub.hub.twins.record import (
    TwinFormatError,
    TwinRecord,
    decode_record,
    encode_pending,
    encode_twin,
)
from edgehub.identity.sealing import SealError

if TYPE_CHECKING:
    import asyncio

    from edgehub.common.state import Change, StateStore
    from edgehub.identity.sealing import Sealer

TWINS: Final = "twins"
PENDING: Final = "twin-reports"

log = logging.getLogger(__name__)


class TwinStore:
    """Twins by identity.

    :param sealer: encrypts what is written (`EncryptTwinStore`); None writes plain JSON. Both are read.
    """

    def __init__(self, state: StateStore, sealer: Sealer | None) -> None:
        self._state = state
        self._sealer = sealer
        self._waiting: dict[IdentityId, TwinRecord] = {}
        for key, _ in state.items(PENDING):
            identity = IdentityId.parse(key)
            record = self._load(identity)
            if record.pending:
                self._waiting[identity] = record

    @property
    def waiting(self) -> tuple[IdentityId, ...]:
        """Identities whose reported properties the parent hub does not have."""
        return tuple(self._waiting)

    def get(self, identity: IdentityId) -> TwinRecord:
        """What is known; an empty record if nothing is, or if it cannot be read.

        :raises StateError: the state cannot be read.
        """
        return self._waiting.get(identity) or self._load(identity)

    def put(self, identity: IdentityId, record: TwinRecord) -> asyncio.Future[None] | None:
        """Stores a record.

        :returns: done when it is durable; None when there is nothing to wait for.
        :raises StateError: too many writes wait.
        """
        key = str(identity)
        changes: list[Change] = [(TWINS, key, self._seal(encode_twin(record), TWINS, key))]
        pending = encode_pending(record)
        if pending is not None or identity in self._waiting:
            changes.append((PENDING, key, pending and self._seal(pending, PENDING, key)))
        written = self._state.write(changes)
        self.keep(identity, record)
        return written

    def keep(self, identity: IdentityId, record: TwinRecord) -> None:
        """Takes a record into memory alone: where something stands with sending is not stored."""
        if record.pending:
            self._waiting[identity] = record
        else:
            self._waiting.pop(identity, None)

    def drop(self, identity: IdentityId) -> None:
        """Forgets an identity that no longer exists; nobody waits for it."""
        key = str(identity)
        self._waiting.pop(identity, None)
        try:
            if self._state.get(TWINS, key) is not None or self._state.get(PENDING, key) is not None:
                changes: list[Change] = [(TWINS, key, None), (PENDING, key, None)]
                log_failure(self._state.write(changes), f"The end of the twin of {identity}")
        except StateError as error:
            log.warning("The twin of %s could not be deleted: %s", identity, error)

    def _load(self, identity: IdentityId) -> TwinRecord:
        key = str(identity)
        try:
            return decode_record(self._read(TWINS, key), self._read(PENDING, key))
        except (TwinFormatError, SealError) as error:
            log.warning("The stored twin of %s is not used: %s", identity, error)
            return TwinRecord()

    def _read(self, bucket: str, key: str) -> bytes | None:
        data = self._state.get(bucket, key)
        if data is None or data.startswith(b"{"):
            return data
        if self._sealer is None:
            raise SealError(f"the value of {bucket}/{key} is encrypted, and there is no key")
        return self._sealer.open(data, f"{bucket}/{key}")

    def _seal(self, data: bytes, bucket: str, key: str) -> bytes:
        return data if self._sealer is None else self._sealer.seal(data, f"{bucket}/{key}")
