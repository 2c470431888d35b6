"""`schemaVersion` of a deployment (agent spec 1.3).

Unlike the reference, which knows 1.0 and 1.1 alone, every 1.x is used with what is known of it (deviations).
"""

from __future__ import annotations

import re

from edgeagent.manifest.errors import SchemaVersionError

MAJOR = 1
NEWEST_KNOWN = (1, 3)
EXPECTED = "1.1.0"
"""What refusals name, in the reference's words."""

_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}", re.ASCII)


def check_schema_version(text: str) -> str | None:
    """Checks the version of a manifest.

    :returns: a warning, or None.
    :raises SchemaVersionError: the manifest must not be used.
    """
    trimmed = text.strip()
    if not _VERSION.fullmatch(trimmed):
        raise SchemaVersionError(f"Invalid desired properties schema version {text}")
    major, minor = (int(part) for part in trimmed.split(".")[:2])
    if major != MAJOR:
        raise SchemaVersionError(
            f"The desired properties schema version {trimmed} is not compatible "
            f"with the expected version {EXPECTED}"
        )
    if (major, minor) > NEWEST_KNOWN:
        known = ".".join(map(str, NEWEST_KNOWN))
        return f"schemaVersion {trimmed} is newer than {known}: what it added is not known here"
    return None
