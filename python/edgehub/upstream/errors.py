"""Errors of the link to the parent hub."""

from __future__ import annotations

from edgehub.errors import EdgehubError


class UpstreamError(EdgehubError):
    """An operation with the parent hub failed."""


class UpstreamOffline(UpstreamError):
    """There is no working connection; try again when it is back."""


class UpstreamTimeout(UpstreamError):
    """The parent hub did not answer in time."""


class UpstreamRefused(UpstreamError):
    """The parent hub refused an operation.

    :ivar status: its status code.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
