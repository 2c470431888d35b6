"""Identities from a file, for a hub without parent (`IdentitiesFile`).

The file has the form of a scope API answer: `{"devices": [...], "modules": [...]}`. It is read again at
every refresh, so that an edit takes effect without a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehub.identity.refresher import ScopeApiError
from edgehub.identity.scope_wire import ScopeFormatError, decode_scope_page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgehub.common.ids import IdentityId
    from edgehub.identity.model import ServiceIdentity

FILE_BYTES_MAX = 64 * 1024 * 1024


class IdentitiesFile:
    """A `ScopeApi` over one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[ServiceIdentity, ...]:
        """All identities of the file.

        :raises ScopeApiError: the file cannot be read; the text names it and says what is wrong.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
            if len(data) > FILE_BYTES_MAX:
                raise ScopeApiError(f"{self._path}: larger than {FILE_BYTES_MAX} bytes")
            return decode_scope_page(data).identities
        except OSError as error:
            raise ScopeApiError(f"{self._path}: {error.strerror}") from None
        except ScopeFormatError as error:
            raise ScopeApiError(f"{self._path}: {error}") from None

    async def list_identities(self, edge_chain: Sequence[str]) -> Sequence[ServiceIdentity]:
        return self.read()

    async def get_identity(
        self, identity_id: IdentityId, edge_chain: Sequence[str]
    ) -> Sequence[ServiceIdentity]:
        return [item for item in self.read() if item.id in (identity_id, identity_id.device)]
