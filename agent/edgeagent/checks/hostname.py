"""The rule for names of devices (agent spec 8.2). Pure."""

from __future__ import annotations

import ipaddress
import re

from edgeagent.checks.model import Finding, error, ok, warning

LABEL_CHARS_MAX = 63
NAME_CHARS_MAX = 255
COMMON_NAME_CHARS_MAX = 64
"""Of a certificate."""
_LABEL = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)


def check_hostname(name: str, system: str) -> Finding:
    """An IP address passes; else it must be the system's name, or a full name that begins with it.

    :param system: name of the operating system.
    """
    if _is_address(name):
        return ok(hostname=name)
    first = name.partition(".")[0]
    if name.lower() != system.lower() and first.lower() != system.partition(".")[0].lower():
        return error(
            f'hostname in config.toml is "{name}", the system calls itself "{system}"',
            f'set hostname to "{system}", or to a full name that begins with "{system}."; '
            "or rename the system with hostnamectl",
        )
    if not _is_rfc1035(name):
        return warning(
            f'"{name}" is no name after RFC 1035; clients may not be able to connect to it',
            "use labels of letters, digits and hyphens, a letter first, of 63 characters at most",
        )
    if len(name) > COMMON_NAME_CHARS_MAX:
        return warning(
            f'"{name}" has more than {COMMON_NAME_CHARS_MAX} characters, too many for a certificate',
            "use a shorter name",
        )
    return ok(hostname=name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_rfc1035(name: str) -> bool:
    labels = name.split(".")
    return len(name) <= NAME_CHARS_MAX and all(
        len(label) <= LABEL_CHARS_MAX and _LABEL.fullmatch(label) for label in labels
    )
