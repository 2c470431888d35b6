"""Where MQTT sessions are kept between connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgehub.common.ids import IdentityId
from edgehub.common.state import StateError, StateStore, log_failure
from edgehub.protocol.sessions import Session, SessionFormatError, decode_session, encode_session

if TYPE_CHECKING:
    import asyncio


BUCKET = "sessions"

log = logging.getLogger(__name__)


class SessionStore:
    """Sessions by identity. Futures are done when the disk has the change; None means that it has."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        # Most clients have none: for them nothing is looked up.
        self._known = {key for key, _ in state.items(BUCKET)}

    def load(self, identity: IdentityId) -> Session | None:
        """The stored session; one that cannot be read counts as absent, with a warning.

        :raises StateError: the state cannot be read.
        """
        key = str(identity)
        data = self._state.get(BUCKET, key) if key in self._known else None
        if data is None:
            return None
        try:
            return decode_session(data)
        except SessionFormatError as error:
            log.warning("Session of %s starts anew: %s", identity, error)
            return None

    def save(self, identity: IdentityId, session: Session) -> asyncio.Future[None] | None:
        """Stores the session as it is now."""
        key = str(identity)
        self._known.add(key)
        return self._state.write([(BUCKET, key, encode_session(session))])

    def forget(self, identity: IdentityId) -> asyncio.Future[None] | None:
        """Deletes the stored session, if there is one."""
        key = str(identity)
        if key not in self._known:
            return None
        written = self._state.write([(BUCKET, key, None)])
        if written is None:
            self._known.discard(key)
        else:
            written.add_done_callback(lambda done: self._forgotten(key, done))
        return written

    def _forgotten(self, key: str, done: asyncio.Future[None]) -> None:
        """A client may have come back meanwhile, and its session may be stored again."""
        if not done.cancelled() and done.exception() is None and self._state.get(BUCKET, key) is None:
            self._known.discard(key)

    def drop(self, identity: IdentityId) -> None:
        """Deletes the session of an identity that no longer exists; nobody waits for it."""
        try:
            log_failure(self.forget(identity), f"The end of the session of {identity}")
        except StateError as error:
            log.warning("The session of %s could not be deleted: %s", identity, error)

    def drop_device(self, device_id: str) -> None:
        """The same for a device that no longer exists, and for its modules."""
        modules = f"{device_id}/"
        for key in [key for key in self._known if key == device_id or key.startswith(modules)]:
            self.drop(IdentityId.parse(key))
