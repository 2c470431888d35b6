"""Reads `SslProtocols`: a list of TLS versions in the spellings of the reference (heads spec 4.7).

What is no version that can be offered is left out with a warning; a list without any means the default.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERSIONS = ("1.2", "1.3")
"""Every version that can be offered, as the core names them; also the default."""

_SPELLINGS = {
    spelling: f"1.{minor}"
    for minor in (2, 3)
    for spelling in (f"tls1{minor}", f"tls1.{minor}", f"tls1_{minor}", f"tlsv1{minor}")
}


@dataclass(frozen=True, slots=True)
class SslProtocols:
    """The outcome of reading a list.

    :param versions: to offer, in ascending order; never empty.
    :param unknown: what was left out, as written.
    """

    versions: tuple[str, ...]
    unknown: tuple[str, ...]


def read_ssl_protocols(text: str) -> SslProtocols:
    """Reads a comma list; any case, blanks around names do not count."""
    names = [name for name in (piece.strip() for piece in text.split(",")) if name]
    found = {_SPELLINGS[name.lower()] for name in names if name.lower() in _SPELLINGS}
    unknown = tuple(name for name in names if name.lower() not in _SPELLINGS)
    return SslProtocols(tuple(sorted(found)) or ALL_VERSIONS, unknown)


def remark_of(text: str) -> str:
    """What to warn about; empty when all names are understood."""
    unknown = read_ssl_protocols(text).unknown
    if not unknown:
        return ""
    return f"not offered: {', '.join(unknown)}; known are tls1.2 and tls1.3"


def write_ssl_protocols(versions: tuple[str, ...]) -> str:
    """The list in the usual spelling."""
    return ",".join(f"tls{version}" for version in versions)
