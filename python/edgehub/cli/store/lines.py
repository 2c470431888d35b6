"""Stored messages as JSON, one on each line, and as text."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from edgehub.cli.store.report import iso_time, printable

if TYPE_CHECKING:
    from edgehub._core import StoredMessage

BODY_CHARS_MAX = 200
"""Of a body in text for people."""

_encode = json.JSONEncoder(ensure_ascii=False).encode


def message_as_json(message: StoredMessage) -> str:
    """One line; a payload that is none of the hub's messages is given as it is, with the reason."""
    return _encode(_fields(message))


def message_as_text(message: StoredMessage) -> str:
    """A few lines for people: control characters escaped, a long body cut."""
    fields = _fields(message)
    lines = [f"#{fields['seq']}, expires {fields['expiresAt'] or 'never'}"]
    if "error" in fields:
        lines.append(f"  no message: {fields['error']} ({len(message.payload):,} bytes)")
        return "\n".join(lines)
    lines.append(f"  from {fields['source']} at {fields['enqueuedAt']}")
    lines += [f"  ${name} = {value}" for name, value in fields["systemProperties"].items()]
    lines += [f"  {name} = {value}" for name, value in fields["properties"].items()]
    lines.append(_body_line(fields))
    return "\n".join(printable(line) for line in lines)


def _body_line(fields: dict[str, Any]) -> str:
    name = "body" if "body" in fields else "bodyBase64"
    body: str = fields[name]
    more = f"... ({len(body):,} characters)" if len(body) > BODY_CHARS_MAX else ""
    return f"  {name}: {body[:BODY_CHARS_MAX]}{more}"


def _fields(message: StoredMessage) -> dict[str, Any]:
    place = {"seq": message.seq, "expiresAt": iso_time(message.expires_at_ms)}
    try:
        decoded = message.decode()
    except ValueError as error:
        return {**place, "error": str(error), "payloadBase64": b64encode(message.payload).decode()}
    body = decoded.pop("body")
    place["enqueuedAt"] = iso_time(decoded.pop("enqueuedAtMs"))
    try:
        return {**decoded, "body": body.decode(), **place}
    except UnicodeDecodeError:
        return {**decoded, "bodyBase64": b64encode(body).decode(), **place}
