"""Texts from outside."""

from __future__ import annotations


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8. Headers of HTTP are bytes; those that are not UTF-8 become
    halves of characters, which can be neither stored nor sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
