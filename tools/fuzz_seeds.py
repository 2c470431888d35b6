"""Writes fuzz/seeds: what the fuzz targets start from, made of the conformance vectors.

tools/fuzz_seeds.py            # write the seeds
tools/fuzz_seeds.py --check    # exit code 1 if they are not what they would be
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "fuzz" / "seeds"
VECTORS = ROOT / "tests" / "vectors"
PIECE_BYTES_MAX = 0x7F
"""Longest piece of what a client sends in a list of steps (fuzz/harness/session.rs)."""
SEED_BYTES_MAX = 3000
ANSWER, REFUSE, SHORT_WAIT, LONG_WAIT, READ, DEVICE_PUBLISHES, ROUTES = (
    bytes([0x80 | step]) for step in (0, 3, 4, 5, 8, 9, 12)
)


def rows(name: str, key: str) -> list[dict[str, Any]]:
    """A list of a vector file."""
    found: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())[key]
    return found


def field(text: str) -> bytes:
    """A length-prefixed field."""
    return struct.pack(">H", len(text)) + text.encode()


def connect(client_id: str) -> bytes:
    """CONNECT with a user name."""
    body = field("MQTT") + b"\x04\x80\x00\x3c" + field(client_id) + field("hub/user")
    return bytes([0x10, len(body)]) + body


def subscribe(topic_filter: str) -> bytes:
    """SUBSCRIBE with QoS 1."""
    body = b"\x00\x01" + field(topic_filter) + b"\x01"
    return bytes([0x82, len(body)]) + body


def pieces(data: bytes) -> bytes:
    """What a client sends, as steps."""
    cut = [data[at : at + PIECE_BYTES_MAX] for at in range(0, len(data), PIECE_BYTES_MAX)]
    return b"".join(bytes([len(piece)]) + piece for piece in cut)


def segment(text: str, client_id: str) -> bytes:
    """An entry of `in` of a wire vector, as steps."""
    if text == "@silence":
        return LONG_WAIT * 2
    if text == "@connect":
        return pieces(connect(client_id)) + ANSWER
    parts = (part.partition("*") for part in text.split("+"))
    return pieces(b"".join(bytes.fromhex(data) * int(times or 1) for data, _, times in parts))


def session(row: dict[str, Any]) -> bytes:
    """A wire vector with something going on around it."""
    client_id = "edge1/m" if row["state"] == "subscribed" else "d1"
    steps = b"" if row["state"] == "fresh" else pieces(connect(client_id)) + ANSWER
    if row["state"] == "subscribed":
        steps += pieces(subscribe("devices/edge1/modules/m/inputs/#")) + ANSWER + DEVICE_PUBLISHES * 5
    steps += READ + b"".join(segment(text, client_id) for text in row["in"])
    return steps + ANSWER * 3 + DEVICE_PUBLISHES + READ + SHORT_WAIT + LONG_WAIT + READ


def consumer(acked: Iterable[int], before: bytes) -> bytes:
    """A consumer that acknowledges some of what it got after something else happened."""
    acks = b"".join(b"\x40\x02" + struct.pack(">H", number) for number in acked)
    start = pieces(connect("edge1/m")) + ANSWER + pieces(subscribe("devices/edge1/modules/m/inputs/#"))
    return start + ANSWER + DEVICE_PUBLISHES * 6 + READ + before + pieces(acks) + READ + LONG_WAIT + READ


def publish(topic: str, packet_id: int) -> bytes:
    """PUBLISH with QoS 1, or with QoS 0 where the packet id is 0."""
    body = field(topic) + (struct.pack(">H", packet_id) if packet_id else b"") + b"x"
    return bytes([0x32 if packet_id else 0x30, len(body)]) + body


def waiting(client_id: str, behind: bytes) -> bytes:
    """Packets behind requests that are answered late, one after the other."""
    request, telemetry = "$iothub/twin/GET/?$rid=1", f"devices/{client_id}/messages/events/"
    asked = publish(request, 1) + behind + publish(request, 2) + behind + publish(telemetry, 3) + behind
    start = pieces(connect(client_id)) + ANSWER
    if client_id != "d1":
        start += pieces(subscribe("devices/edge1/modules/m/inputs/#")) + ANSWER + DEVICE_PUBLISHES * 6 + READ
    return start + pieces(asked) + READ + (ANSWER + READ + pieces(behind) + READ) * 4


def sessions() -> Iterator[bytes]:
    """Seeds of mqtt_session."""
    acks = b"".join(b"\x40\x02" + struct.pack(">H", number) for number in range(1, 4))
    broken, unnumbered = b"\x00\x00", publish("$iothub/methods/res/200/?$rid=1", 0)
    for behind in (
        b"\xc0\x00",
        acks,
        b"\xc0\x00" + unnumbered * 3,
        b"\xe0\x00\xc0\x00",
        b"\xc0\x00" + broken,
    ):
        yield waiting("d1", behind)
        yield waiting("edge1/m", behind)
    yield from (session(row) for row in rows("mqtt/wire.json", "rows"))
    for before in (b"", LONG_WAIT, ROUTES, ROUTES + DEVICE_PUBLISHES + ROUTES, REFUSE):
        yield consumer((1, 2, 3), before)
        yield consumer((3, 1, 9), before)


def packets() -> Iterator[bytes]:
    """Seeds of mqtt_decode: all good packets, and one of each kind that is refused for each reason."""
    yield from (bytes.fromhex(row["hex"]) for row in rows("mqtt/packets-valid.json", "packets"))
    seen = set()
    for row in rows("mqtt/packets-invalid.json", "packets"):
        kind = (row["hex"][0], row["error"])
        if kind not in seen:
            seen.add(kind)
            yield bytes.fromhex(row["hex"])


def bags() -> Iterator[bytes]:
    """Seeds of property_bag: bags of topics, and names that need care."""
    for row in rows("mqtt/wire.json", "rows"):
        for text in row["in"]:
            data = b"" if text.startswith("@") else bytes.fromhex(text.split("+")[0])
            _, found, rest = data.partition(b"messages/events/")
            if found and rest:
                yield rest
    yield from (
        f"{name}={name}&%24.mid=%20".encode()
        for name in ("a", "%C3%A9", "%", "%ff", "$.ct", "%24.on", "$.cmid")
    )


def seeds() -> dict[Path, bytes]:
    """All files by path, named by their content."""
    found = {}
    for target, made in (("mqtt_session", sessions()), ("mqtt_decode", packets()), ("property_bag", bags())):
        for data in made:
            if data and len(data) <= SEED_BYTES_MAX:
                found[SEEDS / target / hashlib.sha256(data).hexdigest()[:12]] = data
    return found


def main() -> int:
    """Writes or checks the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the seeds are current")
    wanted, there = seeds(), {path: path.read_bytes() for path in SEEDS.glob("*/*")}
    if parser.parse_args().check:
        if wanted == there:
            return 0
        sys.stderr.write(f"{SEEDS.relative_to(ROOT)} is not current: run make fuzz-seeds\n")
        return 1
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, data in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
