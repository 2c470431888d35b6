"""Queues, segments, spill files and damage, as JSON for tools and as text for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgehub.cli.store.locate import name_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgehub._core import StoreInspector, StoreQueue, StoreSegment, StoreSpillFile
    from edgehub.cli.tables import Table

TIME_MAX_MS = 253_402_300_799_999
"""End of the year 9999; later times are shown as this."""


def iso_time(ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds; None stays."""
    if ms is None:
        return None
    ms = min(ms, TIME_MAX_MS)
    whole = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ms % 1000:03}Z"


def printable(text: str) -> str:
    """Text that cannot move the cursor of a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def queue_as_json(queue: StoreQueue) -> dict[str, Any]:
    """One queue."""
    return {
        "id": queue.id,
        "endpoint": queue.endpoint,
        "priority": queue.priority,
        "removed": queue.removed,
        "messages": queue.messages,
        "bytes": queue.bytes,
        "spilled": queue.spilled,
        "spillBytes": queue.spill_bytes,
        "headSeq": queue.head_seq,
        "nextSeq": queue.next_seq,
        "oldestEnqueuedAt": iso_time(queue.oldest_enqueued_ms),
        "newestEnqueuedAt": iso_time(queue.newest_enqueued_ms),
        "firstExpiresAt": iso_time(queue.first_expiry_ms),
        "lastExpiresAt": iso_time(queue.last_expiry_ms),
        "neverExpiring": queue.never_expiring,
    }


def files_as_json(store: StoreInspector) -> dict[str, list[dict[str, Any]]]:
    """Segments and spill files with what is wrong in them."""
    findings: dict[str, list[dict[str, Any]]] = {}
    for found in store.findings():
        shown = {"kind": found.kind, "offset": found.offset, "bytes": found.bytes}
        findings.setdefault(found.file, []).append(shown)
    segments = [_segment_as_json(segment, findings.get(segment.name, [])) for segment in store.segments()]
    spills = [_spill_as_json(spill, findings.get(spill.name, [])) for spill in store.spill_files()]
    return {"segments": segments, "spillFiles": spills}


def _spill_as_json(spill: StoreSpillFile, findings: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": spill.number,
        "name": spill.name,
        "queue": spill.queue,
        "state": spill.state,
        "bytes": spill.bytes,
        "messages": spill.messages,
        "blocks": spill.blocks,
        "firstSeq": spill.first_seq,
        "endSeq": spill.end_seq,
        "lastExpiresAt": iso_time(spill.last_expiry_ms),
        "findings": findings,
    }


def _segment_as_json(segment: StoreSegment, findings: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "number": segment.number,
        "name": segment.name,
        "state": segment.state,
        "bytes": segment.bytes,
        "usedBytes": segment.used_bytes,
        "createdAt": iso_time(segment.created_ms),
        "messages": segment.messages,
        "unreadable": segment.unreadable,
        "findings": findings,
    }


def totals(store: StoreInspector) -> dict[str, Any]:
    """Sums over all queues and segments."""
    queues, segments, spills = store.queues(), store.segments(), store.spill_files()
    return {
        "queues": sum(not queue.removed for queue in queues),
        "messages": sum(queue.messages for queue in queues),
        "spilled": sum(queue.spilled for queue in queues),
        "segments": len(segments),
        "bytes": sum(segment.bytes for segment in segments),
        "usedBytes": sum(segment.used_bytes for segment in segments),
        "spillFiles": len(spills),
        "spillBytes": sum(spill.bytes for spill in spills),
        # What `storeLimits.maxSizeBytes` is compared with.
        "countedBytes": sum(segment.used_bytes for segment in segments if segment.messages)
        + sum(spill.bytes for spill in spills if spill.messages),
    }


def ls_as_json(folder: Path, store: StoreInspector, losses: dict[str, Any]) -> str:
    """`edgehub store ls --json`."""
    queues = [queue_as_json(queue) for queue in store.queues()]
    shown = {"folder": str(folder), "queues": queues, **files_as_json(store)}
    return json.dumps({**shown, "losses": losses, "totals": totals(store)}, ensure_ascii=False, indent=2)


def queue_table(store: StoreInspector) -> Table:
    """Queues, removed ones last."""
    queues = store.queues()
    rows = [_queue_row(queue, name_of(queue, queues)) for queue in sorted(queues, key=_by_place)]
    numbers = ("messages", "bytes", "spilled", "head", "next")
    header = ("queue", *numbers, "oldest", "newest", "first expiry", "last expiry")
    return header, rows


def _by_place(queue: StoreQueue) -> tuple[bool, str, int]:
    return queue.removed, queue.endpoint, queue.priority


def _queue_row(queue: StoreQueue, name: str) -> list[str]:
    numbers = (queue.messages, queue.bytes, queue.spilled, queue.head_seq, queue.next_seq)
    enqueued = (queue.oldest_enqueued_ms, queue.newest_enqueued_ms)
    shown = printable(name) + (" (removed)" if queue.removed else "")
    expiries = [_shown_expiry(queue, ms) for ms in (queue.first_expiry_ms, queue.last_expiry_ms)]
    return [
        shown,
        *(f"{number:,}" for number in numbers),
        *(iso_time(ms) or "-" for ms in enqueued),
        *expiries,
    ]


def _shown_expiry(queue: StoreQueue, ms: int | None) -> str:
    return iso_time(ms) or ("never" if queue.messages else "-")


def segment_table(store: StoreInspector) -> Table:
    """Segments by number."""
    rows = [
        [
            segment.name,
            segment.state,
            f"{segment.bytes:,}",
            f"{segment.used_bytes:,}",
            f"{segment.messages:,}",
            iso_time(segment.created_ms) or "-",
        ]
        for segment in store.segments()
    ]
    return ("segment", "state", "bytes", "used", "messages", "created"), rows


def spill_table(store: StoreInspector) -> Table:
    """Spill files by queue and number."""
    queues, spills = store.queues(), store.spill_files()
    owners = {spill.queue for spill in spills}
    names = {queue.id: printable(name_of(queue, queues)) for queue in queues if queue.id in owners}
    rows = [
        [
            spill.name,
            names.get(spill.queue, "-"),
            spill.state,
            f"{spill.bytes:,}",
            f"{spill.messages:,}",
            f"{spill.first_seq:,}",
            f"{spill.end_seq:,}",
            iso_time(spill.last_expiry_ms) or ("never" if spill.messages else "-"),
        ]
        for spill in spills
    ]
    return ("spill file", "queue", "state", "bytes", "messages", "first", "end", "last expiry"), rows


def summary(store: StoreInspector) -> str:
    """Sums in one line."""
    sums = totals(store)
    texts = [_counted(sums[name], name[:-1]) for name in ("queues", "messages", "segments")]
    used, counted = sums["usedBytes"], sums["countedBytes"]
    shown = f"{', '.join(texts)}, {sums['bytes']:,} bytes of files, {used:,} used"
    if sums["spillFiles"]:
        spilled, files = _counted(sums["spilled"], "message"), _counted(sums["spillFiles"], "spill file")
        shown += f"; {spilled} in {files} of {sums['spillBytes']:,} bytes"
    return f"{shown}; {counted:,} bytes count for limits"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def verify_as_json(folder: Path, store: StoreInspector) -> str:
    """`edgehub store verify --json`."""
    shown = {
        "folder": str(folder),
        "sound": store.is_sound,
        "batches": store.batches,
        "records": store.records,
        "damagedBytes": store.damaged_bytes,
        "tornBytes": store.torn_bytes,
        "orphanedMessages": store.orphaned,
        "findingsMore": store.findings_more,
        "missedFiles": store.missed,
        "lostMessages": store.lost,
        **files_as_json(store),
        "totals": totals(store),
    }
    return json.dumps(shown, ensure_ascii=False, indent=2)


def verify_as_lines(store: StoreInspector) -> list[str]:
    """`edgehub store verify`: what is wrong, then the verdict."""
    lines = [summary(store) + f", {_counted(store.records, 'record')} checked", *_finding_lines(store)]
    lines += [
        f"{segment.name}: the disk cannot read all of it"
        for segment in store.segments()
        if segment.unreadable
    ]
    lines += [f"{file.name}: {NOTES[file.state]}" for file in _files(store) if file.state in NOTES]
    if store.orphaned:
        lines.append(f"{_counted(store.orphaned, 'message')} of queues whose definition is damaged")
    if store.lost:
        lines.append(f"{_counted(store.lost, 'message')} lost, once per queue")
    return [*lines, "sound" if store.is_sound else f"damaged: {_counted(store.damaged_bytes, 'byte')} lost"]


def _files(store: StoreInspector) -> list[StoreSegment | StoreSpillFile]:
    return [*store.segments(), *store.spill_files()]


NOTES = {
    "behind": "behind the end of the log, or not told of in it yet; the next start of the hub removes it",
    "unreadable": "nothing in it can be read, or it is of another folder; the next start of the hub puts it "
    "aside",
    "aside": "put aside by an earlier start of the hub; never read again, free to delete",
}


def _finding_lines(store: StoreInspector) -> list[str]:
    texts = {"damaged": "are damaged", "torn": "are not whole: the end of the log, not damage"}
    lines = [
        f"{finding.file}: {_counted(finding.bytes, 'byte')} at offset {finding.offset:,} "
        f"{texts[finding.kind]}"
        for finding in store.findings()
    ]
    return [*lines, f"{store.findings_more:,} more damaged places"] if store.findings_more else lines
