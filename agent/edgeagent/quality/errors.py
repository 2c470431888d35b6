"""Errors of runtime-quality telemetry."""

from __future__ import annotations

from edgeagent.errors import AgentError


class ScrapeError(AgentError):
    """A page of metrics could not be had or read; the text says whose and why."""
