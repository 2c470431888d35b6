"""Shared access signature tokens: build, read, verify. No clock: the time is passed in.

```
SharedAccessSignature sr={audience}&sig={signature}&se={expiry}[&skn={policy}]
signature = base64(HMAC-SHA256(base64-decode(key), sr "\n" se))       over sr exactly as it stands in the
token
```

IoT Hub and edgeHub read the same tokens with different strictness, so reading takes a profile: the hub's
(`HUB_PROFILE`, rows 1-10 of the hub's token table) accepts any field order, encoding and case that shipped
clients produce; the edge's (`EDGE_PROFILE`, table 4.1 of the protocol heads) refuses anything but the
documented shape.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOCK_SKEW_SECS: Final = 300
TOKEN_CHARS_MAX: Final = 4096
"""Longer tokens are refused unread."""
KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 64
_PREFIX: Final = "SharedAccessSignature"
_EDGE_SHAPE: Final = re.compile(r"SharedAccessSignature\s(\S+)", re.ASCII)
_FIELDS: Final = ("sr", "sig", "se", "skn")
_EXPIRY: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)


class SasError(EdgehubError):
    """A token that cannot be read, or is refused; the text says why and never quotes the signature."""


@dataclass(frozen=True, slots=True)
class SasProfile:
    """How strictly a token is read.

    :ivar strict_shape: exactly one whitespace after the case-sensitive prefix and one `=` per field.
    :ivar identity_only: the audience must be exactly a device or a module, not a host or anything deeper.
    :ivar skew_secs: how long after its expiry a token is still taken.
    """

    strict_shape: bool
    identity_only: bool
    skew_secs: int = CLOCK_SKEW_SECS


HUB_PROFILE: Final = SasProfile(strict_shape=False, identity_only=False)
EDGE_PROFILE: Final = SasProfile(strict_shape=True, identity_only=True)


@dataclass(frozen=True, slots=True)
class SasToken:
    """The fields of a token as they stand in its text.

    :ivar resource: `sr`, still encoded; this is what was signed.
    :ivar signature: `sig`, decoded from base64.
    :ivar expiry_text: `se` as sent; this is what was signed.
    :ivar expires_at: Unix time in seconds.
    :ivar policy: `skn`, None for a device's or module's own key.
    """

    resource: str
    signature: bytes = field(repr=False)
    expiry_text: str
    expires_at: float
    policy: str | None = None

    def is_expired(self, now: float, skew_secs: float = CLOCK_SKEW_SECS) -> bool:
        """Whether the token ended more than the allowed clock skew ago."""
        return self.expires_at + skew_secs < now

    def is_signed_with(self, keys: Sequence[str]) -> bool:
        """Whether one of the base64 keys made the signature."""
        return self.signing_key(keys) is not None

    def signing_key(self, keys: Sequence[str]) -> str | None:
        """The first of the base64 keys that made the signature; constant time per key, undecodable keys do
        not match."""
        signed = f"{self.resource}\n{self.expiry_text}"
        for key in keys:
            expected = _sign(key, signed)
            if expected is not None and hmac.compare_digest(expected, self.signature):
                return key
        return None


def _sign(key_base64: str, text: str) -> bytes | None:
    try:
        key = base64.b64decode(key_base64, validate=True)
    except (binascii.Error, ValueError):
        return None
    return hmac.digest(key, text.encode(), "sha256")


def sign(key_base64: str, text: str) -> str:
    """Base64 signature of a text with a base64 key.

    :raises SasError: the key is not base64.
    """
    signature = _sign(key_base64, text)
    if signature is None:
        raise SasError("the key is not base64")
    return base64.b64encode(signature).decode()


def text_to_sign(resource: str, expires_at: int) -> str:
    """What is signed for an audience; for a signer elsewhere (the workload API)."""
    return f"{quote(resource, safe='')}\n{expires_at}"


def build_token(resource: str, expires_at: int, *, key: str, policy: str | None = None) -> str:
    """A token for an audience such as `host/devices/d1`.

    :param resource: not encoded, but with ids encoded as the caller wants them inside the path.
    :param expires_at: Unix time in whole seconds.
    :param key: base64.
    :raises SasError: the key is not base64.
    """
    return assemble_token(resource, expires_at, sign(key, text_to_sign(resource, expires_at)), policy)


def assemble_token(resource: str, expires_at: int, signature_base64: str, policy: str | None = None) -> str:
    """A token from a signature that was made elsewhere over `text_to_sign`."""
    fields = f"sr={quote(resource, safe='')}&sig={quote(signature_base64, safe='')}&se={expires_at}"
    return f"{_PREFIX} {fields}" + (f"&skn={quote(policy, safe='')}" if policy else "")


def parse_token(text: str, profile: SasProfile = HUB_PROFILE) -> SasToken:
    """Reads a token without judging it.

    :raises SasError: what is missing or malformed.
    """
    if len(text) > TOKEN_CHARS_MAX:
        raise SasError(f"the token has more than {TOKEN_CHARS_MAX} characters")
    if not text.isascii():
        raise SasError("a token has ASCII characters only; encode others as %XX")
    fields = _split_fields(_token_body(text, profile), profile)
    missing = [name for name in ("sr", "sig", "se") if not fields.get(name)]
    if missing:
        raise SasError(f"the token lacks {', '.join(missing)}")
    expiry_text = fields["se"]
    if not _EXPIRY.fullmatch(expiry_text):
        raise SasError("se must be the expiry in seconds since 1970")
    policy = unquote(fields["skn"]) if fields.get("skn") else None
    return SasToken(fields["sr"], _signature(fields["sig"]), expiry_text, float(expiry_text), policy)


def _token_body(text: str, profile: SasProfile) -> str:
    if profile.strict_shape:
        matched = _EDGE_SHAPE.fullmatch(text)
        if matched is None:
            raise SasError(f"a token is '{_PREFIX}', one space, and fields without spaces")
        return matched[1]
    prefix, _, body = text.strip().partition(" ")
    if prefix.lower() != _PREFIX.lower() or not body:
        raise SasError(f"a token starts with '{_PREFIX} '")
    return body.strip()


def _split_fields(body: str, profile: SasProfile) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in body.split("&"):
        name, separator, value = part.partition("=")
        if profile.strict_shape and (not separator or "=" in value):
            raise SasError("every field of a token is name=value with one '='; encode '=' as %3D")
        name = name.lower()
        if name in fields and name in _FIELDS:
            raise SasError(f"the token has {name!r} twice")
        fields[name] = value
    return fields


def _signature(encoded: str) -> bytes:
    # A client that does not encode sends '+' as itself; unquote leaves it alone.
    text = unquote(encoded)
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SasError("sig is not base64") from None
    # The last digit has bits to spare. With any value taken, one signature would have several spellings.
    if base64.b64encode(signature) != text.encode():
        raise SasError("sig is not base64: the spare bits of its last digit are set")
    return signature


@dataclass(frozen=True, slots=True)
class Audience:
    """A token's resource.

    :ivar host: lower case.
    :ivar segments: path segments, decoded once. Some clients encode ids once more inside the path, so a
        segment also stands for its decoded form.
    """

    host: str
    segments: tuple[str, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the path is exactly a device or a module."""
        return bool(self.identities())

    def identities(self) -> list[tuple[str, str | None]]:
        """`(device, module)` that the path may mean: ids decoded once more first, then as they stand."""
        path = self.segments
        if len(path) not in (2, 4) or path[0].lower() != "devices" or not all(path):
            return []
        if len(path) == 4 and path[2].lower() != "modules":
            return []
        plain = (path[1], path[3] if len(path) == 4 else None)
        decoded = (unquote(path[1]), unquote(path[3]) if len(path) == 4 else None)
        return [plain] if plain == decoded else [decoded, plain]

    def covers(self, path: Sequence[str]) -> bool:
        """Whether `path` lies at or below this audience: by whole segments (`/a/b` does not cover `/a/bc`),
        in any case (one shipped client lower-cases what it signs)."""
        if len(self.segments) > len(path):
            return False
        return all(_same_segment(mine, theirs) for mine, theirs in zip(self.segments, path, strict=False))


def _same_segment(mine: str, theirs: str) -> bool:
    wanted = theirs.lower()
    return mine.lower() == wanted or unquote(mine).lower() == wanted


def parse_audience(resource: str, profile: SasProfile = HUB_PROFILE) -> Audience:
    """Reads an `sr` in any of the encodings clients send: encoded, plain, ids encoded once more; where the
    shape is not strict also with a scheme, and with slashes and spaces around it.

    :raises SasError: no host in it.
    """
    text = unquote(resource)
    if not profile.strict_shape:
        text = _bare(text)
    host, *segments = text.split("/")
    if not host:
        raise SasError("sr names no host")
    return Audience(host.lower(), tuple(segments))


def _bare(text: str) -> str:
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    return (rest if separator and scheme.isalpha() else text).strip("/")


def device_audience(host: str, device_id: str, module_id: str | None = None) -> str:
    """Audience of a device's or module's own token; ids are encoded once inside the path."""
    path = f"{host}/devices/{quote(device_id, safe='')}"
    return path if module_id is None else f"{path}/modules/{quote(module_id, safe='')}"


def identity_path(device_id: str, module_id: str | None = None) -> tuple[str, ...]:
    """Path segments of an identity, for `Audience.covers`."""
    path = ("devices", device_id)
    return path if module_id is None else (*path, "modules", module_id)


def verify_token(
    token: SasToken,
    *,
    now: float,
    hosts: Sequence[str],
    keys: Sequence[str],
    path: Sequence[str],
    profile: SasProfile = HUB_PROFILE,
) -> None:
    """Judges a token for a resource of ours: expiry, host, signature, then scope.

    :param hosts: names we go by.
    :param keys: base64 keys, any of which may have signed.
    :param path: segments of the resource that is asked for, e.g. `identity_path("d1")`.
    :raises SasError: why it is refused.
    """
    if token.is_expired(now, profile.skew_secs):
        raise SasError("the token has expired")
    audience = parse_audience(token.resource, profile)
    if audience.host not in (host.lower() for host in hosts):
        raise SasError("the token is for another host")
    if not token.is_signed_with(keys):
        raise SasError("the signature does not match")
    if not audience.covers(path) or (profile.identity_only and not audience.is_identity):
        raise SasError("the token is for another resource")
