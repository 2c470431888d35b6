"""Keeps scrapes until they are sent: one small file each, whole or not there, in one folder.

The file is named after the time of the scrape in ms, and holds deflated MessagePack: rows of name, labels and
value. Calls block for as long as the disk takes: make them in a thread.
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
    from collections.abc import Iterator, Sequence
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
BATCH_SAMPLES_MAX = 20_000
"""Sent and deleted together, so that a week without a hub does not come into memory at once."""

_NAME = re.compile(r"(\d{1,15})\.scrape", re.ASCII)
_Row = tuple[str, Labels, float]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Scrapes that are sent together, oldest first."""

    entries: tuple[Path, ...]
    samples: list[Sample]


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
            write_file(self._folder / f"{at_ms:015d}.scrape", content)

    def _make_room(self, size: int) -> None:
        sizes = {entry: _size(entry) for entry in self._entries()}
        total = sum(sizes.values()) + size
        for entry in list(sizes):
            if len(sizes) < ENTRIES_MAX and total <= STORE_BYTES_MAX:
                return
            total -= sizes.pop(entry)
            self._lose(entry, "there is no more room")

    def batch(self, now_ms: int) -> Batch | None:
        """The oldest scrapes that are not too old, None when there are none; others are deleted.

        :raises StateFileError: one cannot be read at this moment.
        """
        taken: list[Path] = []
        samples: list[Sample] = []
        with self._lock:
            for entry in self._entries():
                if now_ms - _at_ms(entry) > self._age_s_max * 1000:
                    self._lose(entry, "it is too old")
                    continue
                found = self._read(entry)
                if found is None:
                    continue
                if taken and len(samples) + len(found) > BATCH_SAMPLES_MAX:
                    break
                taken.append(entry)
                samples += found
        return Batch(tuple(taken), samples) if taken else None

    def _read(self, entry: Path) -> list[Sample] | None:
        try:
            content = read_file(entry)
            if content is None:
                return None
            rows = msgspec.msgpack.decode(_inflated(content), type=list[_Row])
        except (zlib.error, ValueError) as fault:
            self._lose(entry, f"it is damaged ({fault})")
            return None
        at_ms = _at_ms(entry)
        return [Sample(name, labels, value, at_ms) for name, labels, value in rows]

    def remove(self, entries: Sequence[Path]) -> None:
        """These were sent.

        :raises StateFileError: they cannot be deleted.
        """
        with self._lock:
            for entry in entries:
                _unlink(entry)

    def clear(self) -> int:
        """Deletes everything, and says how many scrapes that were.

        :raises StateFileError: it cannot be deleted.
        """
        with self._lock:
            entries = list(self._entries())
            for entry in entries:
                _unlink(entry)
            return len(entries)

    def _entries(self) -> Iterator[Path]:
        """Oldest first."""
        try:
            names = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return
        except OSError as fault:
            raise StateFileError(f"{self._folder} cannot be read: {fault.strerror or fault}") from None
        yield from sorted(names, key=_at_ms)

    def _lose(self, entry: Path, why: str) -> None:
        log.warning("metrics kept in %s are deleted: %s", entry.name, why)
        self._counts.scrapes_lost += 1
        _unlink(entry)


def _inflated(content: bytes) -> bytes:
    """:raises ValueError: too long, or cut off; then the checksum was not looked at."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(content, ENTRY_BYTES_MAX)
    if not inflater.eof:
        raise ValueError(f"no end within {ENTRY_BYTES_MAX} bytes")
    return inflated


def _at_ms(entry: Path) -> int:
    return int(entry.stem)


def _size(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return entry.stat().st_size
    return 0


def _unlink(entry: Path) -> None:
    try:
        entry.unlink(missing_ok=True)
    except OSError as fault:
        raise StateFileError(f"{entry} cannot be deleted: {fault.strerror or fault}") from None
