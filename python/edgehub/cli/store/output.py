"""A file that is there as a whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputFileError(EdgehubError):
    """The file of an export cannot be written."""


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Standard output without `path`. A file gets its name when all of it is on disk; an earlier one of the
    same name stays as it was until then. It is readable by its owner alone.

    :raises OutputFileError: no permission, no space.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        with _replacing(path) as file:
            yield file
    except OSError as error:
        raise OutputFileError(f"{path}: {error.strerror}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
