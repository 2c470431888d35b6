"""Keeps scrapes until they are sent: one small file each, whole or not there, in one folder.

The file is named after the time of the scrape in ms and the number of its samples, and holds deflated
MessagePack: rows of name, labels and value. Calls block for as long as the disk takes: make them in a thread.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edgeagent.quality.samples import Labels, Sample
from edgeagent.state.files import StateFileError, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from edgeagent.quality.counts import QualityCounts

FOLDER = "quality"
"""Below the folder of the agent's state."""
ENTRIES_MAX = 1000
"""Scrapes kept; the oldest gives way. An hour each, seven days are 168."""
STORE_BYTES_MAX = 16 * 1024 * 1024
"""All files together; the oldest give way."""
ENTRY_BYTES_MAX = 16 * 1024 * 1024
"""One scrape, inflated."""
BATCH_SAMPLES_MAX = 10_000
"""Sent and deleted together, so that a week without a hub does not come into memory at once."""

_NAME = re.compile(r"(\d{1,15})-(\d{1,6})\.scrape", re.ASCII)
_Row = tuple[str, Labels, float]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One scrape.

    :param at_ms: when, UTC since 1970.
    :param samples: how many.
    """

    at_ms: int
    samples: int
    path: Path


class QualityStore:
    """:param folder: its own; other files in it are left alone.

    :param age_s_max: `MetricMaxUploadAge`; what is older is deleted.
    """

    def __init__(self, folder: Path, age_s_max: float, counts: QualityCounts) -> None:
        self._folder = folder
        self._age_s_max = age_s_max
        self._counts = counts
        self._lock = threading.Lock()

    def add(self, samples: Sequence[Sample], at_ms: int) -> None:
        """Keeps a scrape.

        :raises StateFileError: the disk does not take it.
        """
        rows = [(sample.name, sample.labels, sample.value) for sample in samples]
        content = zlib.compress(msgspec.msgpack.encode(rows), 1)
        with self._lock:
            self._make_room(len(content))
            write_file(self._folder / f"{at_ms:015d}-{len(rows)}.scrape", content)

    def _make_room(self, size: int) -> None:
        sizes = [(entry, _size(entry)) for entry in self._entries()]
        total = sum(of_entry for _, of_entry in sizes) + size
        for at, (entry, of_entry) in enumerate(sizes):
            if len(sizes) - at < ENTRIES_MAX and total <= STORE_BYTES_MAX:
                return
            total -= of_entry
            self._lose(entry, "there is no more room")

    def batch(self, now_ms: int) -> list[Entry]:
        """The oldest scrapes that are not too old, to be sent together; those that are, are deleted.

        :raises StateFileError: the folder cannot be read or changed.
        """
        taken: list[Entry] = []
        total = 0
        with self._lock:
            for entry in self._entries():
                if now_ms - entry.at_ms > self._age_s_max * 1000:
                    self._lose(entry, "it is too old")
                    continue
                total += entry.samples
                if taken and total > BATCH_SAMPLES_MAX:
                    break
                taken.append(entry)
        return taken

    def samples(self, entries: Iterable[Entry]) -> Iterator[Sample]:
        """What these scrapes hold, with one of them in memory at a time; those that cannot be read are
        deleted.

        :raises StateFileError: one cannot be deleted.
        """
        for entry in entries:
            for name, labels, value in self._rows(entry):
                yield Sample(name, labels, value, entry.at_ms)

    def _rows(self, entry: Entry) -> list[_Row]:
        try:
            return msgspec.msgpack.decode(_inflated(read_file(entry.path) or b""), type=list[_Row])
        except (zlib.error, ValueError, StateFileError) as fault:
            self._lose(entry, f"it cannot be read ({fault})")
            return []

    def remove(self, entries: Iterable[Entry]) -> None:
        """These were sent.

        :raises StateFileError: they cannot be deleted.
        """
        for entry in entries:
            _unlink(entry)

    def clear(self) -> int:
        """Deletes everything, and says how many scrapes that were.

        :raises StateFileError: it cannot be deleted.
        """
        with self._lock:
            entries = self._entries()
            self.remove(entries)
            return len(entries)

    def _entries(self) -> list[Entry]:
        """Oldest first."""
        try:
            paths = list(self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise StateFileError(f"{self._folder} cannot be read: {fault.strerror or fault}") from None
        found = [(_NAME.fullmatch(path.name), path) for path in paths]
        entries = [Entry(int(name[1]), int(name[2]), path) for name, path in found if name]
        return sorted(entries, key=lambda entry: entry.at_ms)

    def _lose(self, entry: Entry, why: str) -> None:
        log.warning("metrics kept in %s are deleted: %s", entry.path.name, why)
        self._counts.scrapes_lost += 1
        _unlink(entry)


def _inflated(content: bytes) -> bytes:
    """:raises ValueError: too long, or cut off; then the checksum was not looked at."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(content, ENTRY_BYTES_MAX)
    if not inflater.eof:
        raise ValueError(f"no end within {ENTRY_BYTES_MAX} bytes")
    return inflated


def _size(entry: Entry) -> int:
    with contextlib.suppress(OSError):
        return entry.path.stat().st_size
    return 0


def _unlink(entry: Entry) -> None:
    try:
        entry.path.unlink(missing_ok=True)
    except OSError as fault:
        raise StateFileError(f"{entry.path} cannot be deleted: {fault.strerror or fault}") from None
