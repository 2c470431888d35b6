"""Image references and addresses of registries, as manifests write them (agent spec 1.5, 3.6)."""

from __future__ import annotations

import re

IMAGE_CHARS_MAX = 1024
DOCKER_HUB = "https://index.docker.io/v1/"

_IMAGE = re.compile(r"(?P<repository>([^/]*/)*)(?P<image>[^/:]+)(?P<tag>:[^/:]+)?")
_UPSTREAM = re.compile(r"(?P<before>.*)\$upstream(?P<after>:[1-9].*)", re.DOTALL)


def image_reference(text: str, parent_hostname: str | None = None) -> str:
    """The image to pull: trimmed, `$upstream` replaced, `:latest` where there is no tag.

    :param parent_hostname: what `$upstream` stands for.
    :raises ValueError: not an image reference; the text says what would be right.
    """
    trimmed = text.strip()
    if not trimmed:
        raise ValueError("the image is blank")
    if len(trimmed) > IMAGE_CHARS_MAX:
        raise ValueError(f"the image has more than {IMAGE_CHARS_MAX} characters")
    resolved = resolve_upstream(trimmed, parent_hostname)
    name, at, digest = resolved.partition("@")
    found = _IMAGE.fullmatch(name)
    if found is None:
        raise ValueError(f'"{trimmed}" is not an image: expected [registry/]name[:tag]')
    if at:
        if not digest:
            raise ValueError(f'"{trimmed}" has no digest behind the @')
        return resolved
    return resolved if found["tag"] else f"{resolved}:latest"


def resolve_upstream(text: str, parent_hostname: str | None) -> str:
    """Puts the parent's name in place of `$upstream` in an address that starts with `$`.

    :raises ValueError: no port behind it, or no parent is known.
    """
    if not text.startswith("$"):
        return text
    found = _UPSTREAM.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}": $upstream needs a port, as in $upstream:443')
    if not parent_hostname:
        raise ValueError(f'"{text}": this device has no parent that $upstream could stand for')
    return f"{found['before']}{parent_hostname}{found['after']}"


def registry_of(image: str) -> str | None:
    """Address whose credentials a pull needs; None for images of one component, which need none."""
    first, slash, _ = image.partition("/")
    if not slash:
        return None
    looks_like_host = "." in first or ":" in first
    return first if looks_like_host else DOCKER_HUB
