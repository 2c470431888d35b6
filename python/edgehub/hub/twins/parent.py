"""What twins need from the link to the parent hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgehub.common.merge_patch import Object


class TwinDocument(NamedTuple):
    """Both sections as the parent hub has them, with `$version`."""

    desired: Object
    reported: Object


class ReportAnswer(NamedTuple):
    """What became of a reported patch.

    :ivar version: of the reported properties now, if told.
    :ivar refused: why the patch will never be taken; None when it was.
    """

    version: int | None = None
    refused: str | None = None


class ParentTwins(Protocol):
    """Twins of clients at the parent hub. Identities are written `device` or `device/module`."""

    async def read_twin(self, identity: str) -> TwinDocument:
        """The whole twin.

        :raises EdgehubError: no answer within the operation's time limit, or none that can be used.
        """
        ...

    async def report(self, identity: str, patch: Object) -> ReportAnswer:
        """Merges a patch into the reported properties.

        :raises EdgehubError: no answer; whether the patch arrived is not known.
        """
        ...

    def follow_desired(self, identity: str, *, wanted: bool) -> None:
        """Asks for desired patches, or no longer; holds until changed, also over lost links."""
        ...
