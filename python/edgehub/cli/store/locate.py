"""Which folder, and which queue of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgehub.config.load import load_settings
from edgehub.errors import EdgehubError
from edgehub.hub.folders import SUB_FOLDER, choose_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgehub._core import StoreQueue

MESSAGES = "messages"
UPSTREAM = "iothub"
UPSTREAM_IN_ROUTES = "$upstream"
QUEUES_LISTED = 20


class StoreFolderError(EdgehubError):
    """A folder, or a queue in it, that is not there or cannot be read."""


def locate(given: Path | None, variables: Mapping[str, str] | None = None) -> Path:
    """The folder of the store: the one given, or one of its sub-folders; else the hub's own.

    :raises StoreFolderError: there is no store, or no permission to look.
    :raises SettingsError: the settings name no folder that can be used.
    """
    try:
        return _find(given, os.environ if variables is None else variables)
    except PermissionError as error:
        raise StoreFolderError(f"no permission to read {error.filename}; use the hub's user") from None
    except OSError as error:
        raise StoreFolderError(f"{error.filename}: {error.strerror}") from None


def _find(given: Path | None, variables: Mapping[str, str]) -> Path:
    if given is not None:
        folders = [given, given / MESSAGES, given / SUB_FOLDER / MESSAGES]
        hint = "; expected files journal-*.seg in it"
    else:
        setting = load_settings(variables).settings.storage.folder
        base, warning = choose_base(setting)
        folders = [base / SUB_FOLDER / MESSAGES]
        hint = f" ({warning})" if warning else "; name the folder, or set StorageFolder as for the hub"
    for folder in folders:
        if _has_segments(folder):
            return folder
    wanted = folders[0]
    if not wanted.exists():
        raise StoreFolderError(f"{wanted} does not exist{hint}")
    if not wanted.is_dir():
        raise StoreFolderError(f"{wanted} is no folder{hint}")
    raise StoreFolderError(f"{wanted} is not a store{hint}")


def _has_segments(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.startswith("journal-") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def name_of(queue: StoreQueue, queues: Sequence[StoreQueue]) -> str:
    """What the commands call a queue: its endpoint, with the priority if there are several."""
    several = sum(other.endpoint == queue.endpoint for other in queues) > 1
    return f"{queue.endpoint}:{queue.priority}" if several else queue.endpoint


def choose_queue(queues: Sequence[StoreQueue], given: str) -> StoreQueue:
    """The queue that is called so; those of removed endpoints are left out.

    :raises StoreFolderError: there is none, or several.
    """
    present = [queue for queue in queues if not queue.removed]
    endpoint = _endpoint(given)
    found = [queue for queue in present if queue.endpoint == endpoint]
    found = found or [queue for queue in present if f"{queue.endpoint}:{queue.priority}" == endpoint]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(name_of(queue, present) for queue in found)
        raise StoreFolderError(f"queue '{given}' has several priorities; choose one of {names}")
    raise StoreFolderError(f"no queue '{given}'; {_listed([name_of(queue, present) for queue in present])}")


def _endpoint(given: str) -> str:
    """Routes call the parent hub otherwise than the store does."""
    name, colon, priority = given.partition(":")
    return UPSTREAM + colon + priority if name == UPSTREAM_IN_ROUTES else given


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "the store has no queues"
    more = f" and {len(names) - QUEUES_LISTED} more" if len(names) > QUEUES_LISTED else ""
    return f"there are {', '.join(names[:QUEUES_LISTED])}{more}"
