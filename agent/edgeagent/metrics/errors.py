"""Errors of the metrics port."""

from __future__ import annotations

from edgeagent.errors import AgentError


class MetricsListenError(AgentError):
    """The metrics port cannot be opened; the text names it and says why."""
