"""Where MQTT sessions are kept between connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgehub.common.state import StateError, StateStore, log_failure
from edgehub.protocol.sessions import Session, SessionFormatError, decode_session, encode_session

if TYPE_CHECKING:
    import asyncio

    from edgehub.common.ids import IdentityId

BUCKET = "sessions"

log = logging.getLogger(__name__)


class SessionStore:
    """Sessions by identity. Futures are done when the disk has the change; None means that it has."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def load(self, identity: IdentityId) -> Session | None:
        """The stored session; one that cannot be read counts as absent, with a warning.

        :raises StateError: the state cannot be read.
        """
        data = self._state.get(BUCKET, str(identity))
        if data is None:
            return None
        try:
            return decode_session(data)
        except SessionFormatError as error:
            log.warning("Session of %s starts anew: %s", identity, error)
            return None

    def save(self, identity: IdentityId, session: Session) -> asyncio.Future[None] | None:
        """Stores the session as it is now."""
        return self._state.write([(BUCKET, str(identity), encode_session(session))])

    def forget(self, identity: IdentityId) -> asyncio.Future[None] | None:
        """Deletes the stored session, if there is one."""
        if self._state.get(BUCKET, str(identity)) is None:
            return None
        return self._state.write([(BUCKET, str(identity), None)])

    def drop(self, identity: IdentityId) -> None:
        """Deletes the session of an identity that no longer exists; nobody waits for it."""
        try:
            log_failure(self.forget(identity), f"The end of the session of {identity}")
        except StateError as error:
            log.warning("The session of %s could not be deleted: %s", identity, error)
