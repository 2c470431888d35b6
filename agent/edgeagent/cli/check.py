"""What `edgeagent check` finds in a file, and how it is said."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeagent.manifest.envelope import FILE_BYTES_MAX, read_manifest_text
from edgeagent.manifest.errors import ManifestError, ManifestFormatError
from edgeagent.manifest.oddities import oddities
from edgeagent.manifest.parse import parse_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeagent.model.module import Deployment

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file.

    :param code: 200, or what the agent would report; None when the file cannot be read.
    :param path: place of the error in the document.
    """

    file: str
    code: int | None
    error: str = ""
    path: str = ""
    warnings: tuple[str, ...] = ()
    deployment: Deployment | None = None

    def as_json(self) -> str:
        """One line for machines."""
        document: dict[str, Any] = {"file": self.file, "code": self.code, "warnings": list(self.warnings)}
        if self.error:
            document["error"] = {"path": self.path, "text": self.error}
        if self.deployment is not None:
            document["modules"] = {
                name: {
                    "image": module.image,
                    "status": module.status.value,
                    "restartPolicy": module.restart_policy.value,
                    "startupOrder": module.startup_order,
                    "specHash": module.spec_hash,
                }
                for name, module in self.deployment.modules.items()
            }
        return json.dumps(document, ensure_ascii=False)


def check_file(file: Path, parent_hostname: str | None) -> Verdict:
    """Reads and checks one file."""
    try:
        text = _read(file)
    except OSError as fault:
        return Verdict(str(file), None, f"cannot be read: {fault.strerror or fault}")
    try:
        parsed = parse_manifest(read_manifest_text(text), parent_hostname)
    except ManifestError as fault:
        path = fault.path if isinstance(fault, ManifestFormatError) else ""
        return Verdict(str(file), fault.code, str(fault), path)
    warnings = (*parsed.warnings, *oddities(parsed.deployment))
    return Verdict(str(file), 200, warnings=warnings, deployment=parsed.deployment)


def _read(file: Path) -> bytes:
    if str(file) == STANDARD_INPUT:
        return sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    with file.open("rb") as opened:
        return opened.read(FILE_BYTES_MAX + 1)


def as_lines(verdict: Verdict) -> Iterator[str]:
    """For people."""
    if verdict.deployment is not None:
        count = len(verdict.deployment.modules)
        yield f"{verdict.file}: can be used, {count} module{'' if count == 1 else 's'}"
    elif verdict.code is None:
        yield f"{verdict.file}: {verdict.error}"
    else:
        yield f"{verdict.file}: cannot be used ({verdict.code}): {verdict.error}"
    for warning in verdict.warnings:
        yield f"  warning: {warning}"
