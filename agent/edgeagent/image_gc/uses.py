"""When each image was last used, in a file (agent spec 7.10, row X13)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING

from edgeagent.files import write_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

FILE = "image_use"
USES_MAX = 10_000
"""Images that are remembered, those used last; what is forgotten is never deleted."""
FILE_BYTES_MAX = 4 * 1024 * 1024

_ID = re.compile(r"[!-~]{1,200}")
_LINE = re.compile(r"(?P<image_id>[!-~]{1,200}) (?P<used_s>\d{1,12})", re.ASCII)


class ImageUses:
    """The last use of each image that this agent pulled or made a container of.

    Call :meth:`record` after a pull, and when a container is made or removed. Without the file nothing is
    deleted, so a file that is lost or damaged costs space and nothing else.
    """

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        """:param folder: `<home>/gc`; made if it is missing."""
        self._folder = folder
        self._now_s = now_s
        self._uses: dict[str, int] | None = None
        self._writing = asyncio.Lock()

    async def all(self) -> dict[str, int]:
        """Image id to the last use, in seconds since 1970."""
        async with self._writing:
            return dict(await self._loaded())

    async def record(self, image_id: str) -> None:
        """It is used now. What cannot be an id is passed over.

        :raises OSError: the file cannot be written.
        """
        if not _ID.fullmatch(image_id):
            return
        async with self._writing:
            uses = await self._loaded()
            # Behind all others: the order is that of the uses.
            uses.pop(image_id, None)
            uses[image_id] = max(0, int(self._now_s()))
            await self._write(uses)

    async def settle(self, kept: Mapping[str, int], dropped: Collection[str]) -> None:
        """Takes over the outcome of a run; what was used since the run began is not forgotten.

        :raises OSError: the file cannot be written.
        """
        async with self._writing:
            uses = await self._loaded()
            for image_id, used_s in kept.items():
                if image_id in uses:
                    uses[image_id] = min(max(used_s, uses[image_id]), max(0, int(self._now_s())))
            for image_id in dropped:
                uses.pop(image_id, None)
            await self._write(uses)

    async def _loaded(self) -> dict[str, int]:
        if self._uses is None:
            self._uses = await asyncio.to_thread(_read, self._folder / FILE)
        return self._uses

    async def _write(self, uses: dict[str, int]) -> None:
        while len(uses) > USES_MAX:
            del uses[next(iter(uses))]
        await asyncio.to_thread(write_secret, self._folder / FILE, format_uses(uses).encode())


def parse_uses(text: str) -> dict[str, int]:
    """Image id to the last use. Lines of another form are passed over, with one word in the log."""
    uses: dict[str, int] = {}
    damaged = 0
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is not None:
            uses[found["image_id"]] = int(found["used_s"])
        elif line.strip():
            damaged += 1
    if damaged:
        log.warning("the file of image uses has %d damaged lines; these images are not deleted", damaged)
    return uses


def format_uses(uses: Mapping[str, int]) -> str:
    """One line for each: the id and the time."""
    return "".join(f"{image_id} {used_s}\n" for image_id, used_s in uses.items())


def _read(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as fault:
        log.warning("cannot read %s, so no image is deleted that was used before: %s", path, fault)
        return {}
    if len(content) > FILE_BYTES_MAX:
        log.warning("%s has more than %d bytes and is begun anew", path, FILE_BYTES_MAX)
        return {}
    return parse_uses(content.decode("utf-8", "replace"))
