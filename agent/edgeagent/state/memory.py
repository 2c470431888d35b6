"""Keeps what the loop remembers (agent spec 2.5)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from edgeagent.model.current import Restarts
from edgeagent.model.module import DesiredStatus  # noqa: TC001 - msgspec reads the annotation
from edgeagent.reconcile.progress import Remembered
from edgeagent.state.files import StateFileError, read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path


MODULES_FILE = "modules.json"

_log = logging.getLogger(__name__)


class _Record(msgspec.Struct, omit_defaults=True):
    """What is known of one module, as it is written."""

    restarts: int = 0
    restarted_at_ms: int = 0
    applied: DesiredStatus | None = None
    end_seen_ms: int | None = None
    stopped_with_agent: bool = False


class FileMemory:
    """One file, `modules.json`.

    What cannot be read is put aside with a log line, and the agent goes on without it: supervision is worth
    more than a count of restarts.
    """

    def __init__(self, folder: Path) -> None:
        self._modules = folder / MODULES_FILE

    def load(self) -> Remembered:
        """What was saved last, or an empty one."""
        content = self._read(self._modules)
        if content is None:
            return Remembered()
        try:
            return _remembered(msgspec.json.decode(content, type=dict[str, _Record]))
        except msgspec.DecodeError as fault:
            self._put_aside(self._modules, str(fault))
            return Remembered()

    def save(self, remembered: Remembered) -> None:
        """:raises StateFileError: the disk does not take it."""
        write_file(self._modules, msgspec.json.encode(_records(remembered)))

    def _read(self, path: Path) -> bytes | None:
        try:
            return read_file(path)
        except StateFileError as fault:
            _log.error("%s", fault)
            return None

    def _put_aside(self, path: Path, why: str) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        _log.error("%s cannot be used (%s); it is kept as %s", path, why, aside.name)
        try:
            path.replace(aside)
        except OSError as fault:
            _log.error("%s cannot be renamed: %s", path, fault)


def _records(remembered: Remembered) -> dict[str, _Record]:
    names = {
        *remembered.restarts,
        *remembered.applied,
        *remembered.ends_seen,
        *remembered.stopped_with_agent,
    }
    none = Restarts(0, 0)
    return {
        name: _Record(
            remembered.restarts.get(name, none).count,
            remembered.restarts.get(name, none).last_at_ms,
            remembered.applied.get(name),
            remembered.ends_seen.get(name),
            name in remembered.stopped_with_agent,
        )
        for name in sorted(names)
    }


def _remembered(records: dict[str, _Record]) -> Remembered:
    remembered = Remembered()
    for name, record in records.items():
        if record.restarts:
            remembered.restarts[name] = Restarts(record.restarts, record.restarted_at_ms)
        if record.applied is not None:
            remembered.applied[name] = record.applied
        if record.end_seen_ms is not None:
            remembered.ends_seen[name] = record.end_seen_ms
        if record.stopped_with_agent:
            remembered.stopped_with_agent.add(name)
    return remembered
