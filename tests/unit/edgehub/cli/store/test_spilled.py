"""`edgehub store` on folders with spill files."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
from shutil import which
from typing import TYPE_CHECKING, Any
from zlib import crc32

import lz4.frame  # type: ignore[import-untyped]
import pytest

from edgehub._core import StoreError, StoreInspector
from edgehub.cli.store.report import iso_time
from edgehub.store_files import read_spilled
from testkit.spill_files import Spilled, SpillFile
from testkit.store_files import NEVER, WRITTEN_MS, StoreFiles, encoded_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Any]

MESSAGES = 12
PAYLOADS = [encoded_message(f"body {n}".encode() * 20, properties={"n": str(n)}) for n in range(MESSAGES)]


def expiry(n: int) -> int:
    return NEVER if n % 3 == 0 else WRITTEN_MS + 60_000 + n * 1000


def spilled(*numbers: int) -> list[Spilled]:
    return [Spilled(n, PAYLOADS[n], expiry(n), WRITTEN_MS + n) for n in numbers]


@pytest.fixture
def journal(tmp_path: Path) -> StoreFiles:
    """Twelve messages, the first two of them acknowledged, the first ten of them spilled."""
    files = StoreFiles(tmp_path / "messages")
    files.define(1, "iothub")
    for n, payload in enumerate(PAYLOADS):
        files.append([1], payload, expiry(n))
    files.spilled(1, 10)
    files.acknowledge(1, 2)
    return files


@pytest.fixture
def whole(journal: StoreFiles) -> SpillFile:
    """The numbers 0 to 7 in two blocks; number 5 was done when they were made."""
    file = SpillFile(journal.folder)
    file.block(0, 4, spilled(0, 1, 2, 3))
    file.block(4, 8, spilled(4, 6, 7))
    file.finish()
    return file


@pytest.fixture
def growing(journal: StoreFiles, whole: SpillFile) -> SpillFile:
    """The numbers 8 and 9 in a file that may still grow."""
    file = SpillFile(journal.folder, number=whole.number + 1)
    file.block(8, 10, spilled(8, 9))
    return file


WANTED = [2, 3, 4, 6, 7, 8, 9, 10, 11]


def exported(run: Run, folder: Path) -> tuple[list[int], Any]:
    result = run("export", "iothub", folder)
    return [json.loads(line)["seq"] for line in result.stdout.splitlines()], result


def files_of(run: Run, folder: Path) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(run("ls", folder, "--json").stdout)["spillFiles"]
    return shown


def test_queues_and_files_as_json(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    result = run("ls", journal.folder, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    [queue] = shown["queues"]
    assert (queue["messages"], queue["spilled"], queue["headSeq"], queue["nextSeq"]) == (9, 7, 2, 12)
    assert queue["spillBytes"] == len(whole.content) + len(growing.content)
    entry_bytes = sum(20 + len(PAYLOADS[n]) for n in WANTED[:7])
    record_bytes = sum(12 + 12 + len(PAYLOADS[n]) for n in WANTED[7:])
    assert queue["bytes"] == entry_bytes + record_bytes
    assert queue["neverExpiring"] == sum(expiry(n) == NEVER for n in WANTED)
    expiries = [expiry(n) for n in WANTED if expiry(n) != NEVER]
    assert (queue["firstExpiresAt"], queue["lastExpiresAt"]) == tuple(
        map(iso_time, (min(expiries), max(expiries)))
    )
    assert queue["oldestEnqueuedAt"] == iso_time(WRITTEN_MS + 2)
    places = [
        (file["state"], file["messages"], file["blocks"], file["firstSeq"], file["endSeq"])
        for file in shown["spillFiles"]
    ]
    assert places == [("complete", 5, 2, 0, 8), ("open", 2, 1, 8, 10)]
    assert [file["queue"] for file in shown["spillFiles"]] == [1, 1]
    totals = shown["totals"]
    assert (totals["messages"], totals["spilled"], totals["spillFiles"]) == (9, 7, 2)
    assert shown["segments"][0]["messages"] == 2


def test_text_has_a_table_of_them(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    shown = run("ls", journal.folder).stdout
    [line] = [line for line in shown.splitlines() if line.startswith(whole.path.name)]
    assert line.split()[1:3] == ["iothub", "complete"]
    assert f"9 messages, 1 segment, {len(journal.content):,} bytes" in shown
    size = len(whole.content) + len(growing.content)
    assert f"; 7 messages in 2 spill files of {size:,} bytes" in shown


def test_all_messages_come_in_order(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    seqs, result = exported(run, journal.folder)
    assert (result.exit_code, result.stderr, seqs) == (0, "", WANTED)
    first = json.loads(result.stdout.splitlines()[0])
    assert (first["body"], first["properties"], first["expiresAt"]) == (
        "body 2" * 20,
        {"n": "2"},
        iso_time(expiry(2)),
    )
    peeked = run("peek", "iothub", journal.folder, "--json", "--count", "8")
    assert peeked.stdout.splitlines() == result.stdout.splitlines()[:8]
    verified = run("verify", journal.folder)
    assert (verified.exit_code, verified.stdout.splitlines()[-1]) == (0, "sound")


def test_both_readers_read_the_same(journal: StoreFiles, whole: SpillFile, growing: SpillFile) -> None:
    store = StoreInspector(journal.folder)

    def never(reason: str, messages: int) -> None:
        raise AssertionError(reason)

    own = [*read_spilled(journal.folder, store.spill_blocks(1), never), *store.journal(1)]
    core = list(store.export(1))
    shown = [[(one.seq, one.expires_at_ms, one.payload) for one in messages] for messages in (own, core)]
    assert shown[0] == shown[1]
    assert [payload for _, _, payload in shown[0]] == [PAYLOADS[n] for n in WANTED]
    assert [repr(block) for block in store.spill_blocks(1)][:1] == [
        f'StoreSpillBlock("{whole.path.name}", offset=56, messages=2)'
    ]
    assert repr(store.spill_files()[0]) == f'StoreSpillFile("{whole.path.name}", "complete", messages=5)'


def test_expiries_are_those_of_the_wall_clock(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    hour_ms = 3_600_000
    journal.step_clock(hour_ms)
    shown = [
        json.loads(line)["expiresAt"] for line in run("export", "iothub", journal.folder).stdout.splitlines()
    ]
    never = [n for n in WANTED if expiry(n) == NEVER]
    assert shown == [None if n in never else iso_time(expiry(n) + hour_ms) for n in WANTED]
    core = StoreInspector(journal.folder)
    own = read_spilled(journal.folder, core.spill_blocks(1), print, wall_skew_ms=core.wall_skew_ms)
    expiries = [message.expires_at_ms for message in core.export(1)]
    assert [message.expires_at_ms for message in (*own, *core.journal(1))] == expiries
    assert json.loads(run("ls", journal.folder, "--json").stdout)["queues"][0]["firstExpiresAt"] == min(
        text for text in shown if text
    )


@pytest.mark.parametrize("part", ["frame", "header"])
def test_a_damaged_block_is_told_and_the_next_one_read(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile, part: str
) -> None:
    offset = whole.offsets[1]
    whole.content[offset + (120 if part == "frame" else 20)] ^= 1
    whole.save()
    seqs, result = exported(run, journal.folder)
    assert (result.exit_code, seqs) == (1, [2, 3, 8, 9, 10, 11])
    assert f"{whole.path.name}: the block at offset {offset} is damaged" in result.stderr
    assert result.stderr.endswith("; 3 messages left out\n")
    with pytest.raises(StoreError, match=f"the block at offset {offset} is damaged; 3 messages in it"):
        list(StoreInspector(journal.folder).export(1))
    result = run("verify", journal.folder)
    assert result.exit_code == 1
    assert f"{whole.path.name}: " in result.stdout
    shown = json.loads(run("verify", journal.folder, "--json").stdout)
    [finding] = shown["spillFiles"][0]["findings"]
    assert (finding["kind"], finding["offset"]) == ("damaged", offset)
    assert (shown["sound"], shown["damagedBytes"]) == (False, finding["bytes"])


def test_a_torn_tail_is_no_damage(run: Run, journal: StoreFiles, growing: SpillFile) -> None:
    end = len(growing.content)
    growing.content += growing.content[56:100]
    growing.save()
    result = run("verify", journal.folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "sound")
    assert f"{growing.path.name}: 44 bytes at offset {end:,} are not whole" in result.stdout
    assert exported(run, journal.folder)[0] == WANTED


def test_blocks_that_the_journal_does_not_tell_of_do_not_count(
    run: Run, journal: StoreFiles, growing: SpillFile
) -> None:
    growing.block(10, 12, spilled(10, 11))
    later = SpillFile(journal.folder, number=9)
    later.block(12, 13, [Spilled(12, b"x")])
    assert exported(run, journal.folder)[0] == WANTED
    result = run("verify", journal.folder)
    assert result.exit_code == 0
    assert f"{later.path.name}: behind the end of the log" in result.stdout
    assert [file["state"] for file in files_of(run, journal.folder)] == ["complete", "open", "behind"]


def test_files_that_only_hold_a_place(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    tombstone = SpillFile(journal.folder, number=whole.number)
    tombstone.block(0, 8, [])
    tombstone.finish()
    seqs, result = exported(run, journal.folder)
    assert (result.exit_code, seqs) == (0, [8, 9, 10, 11])
    assert [file["state"] for file in files_of(run, journal.folder)] == ["spent", "open"]
    assert run("verify", journal.folder).exit_code == 0
    journal.acknowledge(1, 10)
    assert [file["state"] for file in files_of(run, journal.folder)] == ["spent", "spent"]
    assert exported(run, journal.folder)[0] == [10, 11]


def test_a_missing_file_is_damage(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    whole.path.unlink()
    result = run("verify", journal.folder)
    assert result.exit_code == 1
    assert "6 messages lost" in result.stdout
    assert json.loads(run("verify", journal.folder, "--json").stdout)["lostMessages"] == 6
    assert exported(run, journal.folder)[0] == [8, 9, 10, 11]


def test_a_file_that_goes_meanwhile_is_told(
    journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    blocks = StoreInspector(journal.folder).spill_blocks(1)
    told: list[tuple[str, int]] = []
    whole.path.unlink()
    read = read_spilled(journal.folder, blocks, lambda reason, count: told.append((reason, count)))
    assert [message.seq for message in read] == [8, 9]
    assert told == [(f"{whole.path.name} is gone: its messages were delivered or given up meanwhile", 5)]
    tombstone = SpillFile(journal.folder)
    tombstone.block(0, 8, [])
    tombstone.finish()
    told.clear()
    list(read_spilled(journal.folder, blocks, lambda reason, count: told.append((reason, count))))
    assert [count for _, count in told] == [2, 3]
    assert told[0][0] == f"{whole.path.name}: the block at offset 56 was given up meanwhile"


def test_a_file_of_another_folder_does_not_count(
    run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile
) -> None:
    foreign = SpillFile(journal.folder, number=7, salt=1)
    foreign.block(0, 8, [Spilled(n, b"foreign") for n in range(8)])
    assert exported(run, journal.folder)[0] == WANTED
    result = run("verify", journal.folder)
    assert result.exit_code == 0
    assert f"{foreign.path.name}: nothing in it can be read, or it is of another folder" in result.stdout


def test_a_newer_format_is_refused(run: Run, journal: StoreFiles) -> None:
    newer = SpillFile(journal.folder, version=2)
    for command in (["ls"], ["verify"], ["peek", "iothub"], ["export", "iothub"]):
        result = run(*command, journal.folder)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{newer.path.name}: format version 2 is newer than 1" in result.stderr


def test_other_files_are_named(run: Run, journal: StoreFiles, whole: SpillFile, growing: SpillFile) -> None:
    whole.path.with_name("spill-00001-000000000005.new").write_bytes(b"x")
    whole.path.with_name("spill-00001-000000000006.bad").write_bytes(b"xy")
    shown = [(file["state"], file["bytes"]) for file in files_of(run, journal.folder)]
    assert shown[2:] == [("behind", 1), ("aside", 2)]
    text = run("verify", journal.folder).stdout
    assert "spill-00001-000000000006.bad: put aside by an earlier start" in text


def test_a_low_limit_of_open_files_is_raised(run: Run, journal: StoreFiles) -> None:
    """All files of a store are open at once."""
    for n in range(10):
        file = SpillFile(journal.folder, number=n + 1)
        file.block(n, n + 1, spilled(n))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, hard))
    try:
        assert exported(run, journal.folder)[0] == list(range(2, 12))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_frames_that_lie_are_damage(journal: StoreFiles) -> None:
    good = struct.pack("<IIIQ", 1, 0, 0, NEVER) + b"x"
    frames = {
        "it has another length": (lz4.frame.compress(good + b"y"), len(good)),
        "it does not hold what": (lz4.frame.compress(good * 2), 2 * len(good)),
        "an entry in it is not whole": (lz4.frame.compress(good + good[:9]), len(good) + 9),
        "its checksum|LZ4": (b"\x04\x22\x4d\x18nonsense", 5),
        "longer than any block": (lz4.frame.compress(good), 1 << 30),
    }
    file = SpillFile(journal.folder)
    for n, (frame, raw_bytes) in enumerate(frames.values()):
        file.put_block(n, n + 1, [Spilled(n, b"x")], raw_bytes, frame)
    told: list[str] = []

    class Block:
        """As the core would give it."""

        def __init__(self, offset: int) -> None:
            self.file, self.offset, self.from_seq, self.messages = file.path.name, offset, 0, 1

    blocks: Any = [Block(offset) for offset in file.offsets]
    assert list(read_spilled(journal.folder, blocks, lambda reason, _: told.append(reason))) == []
    assert len(told) == len(frames)
    for reason, wanted in zip(told, frames, strict=True):
        assert any(text in reason for text in wanted.split("|")), reason


@pytest.mark.parametrize("cut", [0, 10, 55])
def test_a_header_that_is_cut_or_damaged_is_told(journal: StoreFiles, whole: SpillFile, cut: int) -> None:
    blocks = StoreInspector(journal.folder).spill_blocks(1)
    told: list[tuple[str, int]] = []
    for content in (whole.content[:cut], whole.content[:cut] + b"\xff" + whole.content[cut + 1 :]):
        whole.path.write_bytes(content)
        list(read_spilled(journal.folder, blocks, lambda reason, count: told.append((reason, count))))
    assert told == [(f"{whole.path.name}: its header is damaged", 5)] * 2


def test_a_newer_file_that_came_meanwhile_is_told(journal: StoreFiles, whole: SpillFile) -> None:
    blocks = StoreInspector(journal.folder).spill_blocks(1)
    whole.content[16:20] = struct.pack("<I", 3)
    whole.content[20:24] = struct.pack("<I", crc32(whole.content[8:20]))
    whole.save()
    told: list[str] = []
    list(read_spilled(journal.folder, blocks, lambda reason, _: told.append(reason)))
    assert told == [f"{whole.path.name}: format version 3 is newer than 1"]


def entries(numbers: list[int], first: int) -> bytes:
    heads = [
        (n, struct.pack("<IIIQ", len(PAYLOADS[n]), n - first, n - numbers[0], expiry(n))) for n in numbers
    ]
    return b"".join(head + PAYLOADS[n] for n, head in heads)


def test_every_lz4_tool_reads_a_file_whole(journal: StoreFiles, whole: SpillFile) -> None:
    wanted = entries([0, 1, 2, 3], 0) + entries([4, 6, 7], 4)
    with lz4.frame.open(whole.path) as file:
        assert file.read() == wanted
    if which("lz4") is None:
        print("the command lz4 is not installed; only the library was tested")
        return
    assert subprocess.run(["lz4", "-dc", whole.path], check=True, capture_output=True).stdout == wanted
