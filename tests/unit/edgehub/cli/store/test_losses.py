"""`edgehub store ls` tells what was lost and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.cli.store.losses import CAUSES
from edgehub.cli.store.report import iso_time
from testkit.store_files import WRITTEN_MS, StoreFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]

LINES = (
    "total\t1\t0\texpired\t12\tiothub",
    "total\t2\t5\tquota\t1000\tedge/filter/in",
    "total\t9\t0\tdamaged\t3\t",
    f"loss\t{WRITTEN_MS - 2000}\t2\t5\tquota\t40\t1000\tedge/filter/in",
    f"loss\t{WRITTEN_MS - 1000}\t1\t0\texpired\t7\t11\tiothub",
    f"loss\t{WRITTEN_MS}\t1\t0\texpired\t30\t1\tiothub",
)


def test_losses_as_json(run: Run, store: StoreFiles) -> None:
    store.lose(LINES)
    losses = json.loads(run("ls", store.folder, "--json").stdout)["losses"]
    assert (losses["writtenAt"], losses["error"]) == (iso_time(WRITTEN_MS), None)
    totals = [(total["endpoint"], total["cause"], total["messages"]) for total in losses["totals"]]
    assert totals == [("iothub", "expired", 12), ("edge/filter/in", "quota", 1000), ("", "damaged", 3)]
    assert losses["last"][0] == {
        "at": iso_time(WRITTEN_MS - 2000),
        "queue": 2,
        "endpoint": "edge/filter/in",
        "priority": 5,
        "cause": "quota",
        "firstSeq": 40,
        "messages": 1000,
    }
    assert [loss["firstSeq"] for loss in losses["last"]] == [40, 7, 30]


def test_totals_as_text_most_first(run: Run, store: StoreFiles) -> None:
    store.lose(LINES)
    shown = run("ls", store.folder).stdout
    rows = [line.split()[:3] for line in shown[shown.index("lost from") :].splitlines()[1:4]]
    assert rows == [
        ["edge/filter/in:5", "quota", "1,000"],
        ["iothub", "expired", "12"],
        ["(queue", "9)", "damaged"],
    ]
    assert str(iso_time(WRITTEN_MS)) in shown
    assert "first number" not in shown


def test_one_by_one_newest_first(run: Run, store: StoreFiles) -> None:
    store.lose(LINES)
    shown = run("ls", store.folder, "--losses").stdout
    table = shown[shown.index("lost at") :].splitlines()[1:4]
    assert [line.split()[-1] for line in table] == ["30", "7", "40"]


def test_without_losses_nothing_is_said(run: Run, store: StoreFiles) -> None:
    result = run("ls", store.folder)
    assert "lost" not in result.stdout
    assert result.stderr == ""
    losses = json.loads(run("ls", store.folder, "--json").stdout)["losses"]
    assert losses == {"writtenAt": None, "error": None, "totals": [], "last": []}


def test_a_ledger_that_cannot_be_read_is_told_and_hides_nothing_else(run: Run, store: StoreFiles) -> None:
    store.lose(("nonsense",))
    result = run("ls", store.folder)
    assert result.exit_code == 0
    assert "iothub" in result.stdout
    assert "losses.txt: line 2: total or loss expected; what was lost is not known" in result.stderr
    losses = json.loads(run("ls", store.folder, "--json").stdout)["losses"]
    assert losses["error"] == "line 2: total or loss expected"


def test_a_ledger_of_another_store_is_not_shown(run: Run, store: StoreFiles) -> None:
    store.lose(LINES, salt=1)
    assert "it is of another store" in run("ls", store.folder).stderr


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_is_explained(run: Run, store: StoreFiles, cause: str) -> None:
    store.lose((f"total\t1\t0\t{cause}\t1\tiothub",))
    assert CAUSES[cause] in run("ls", store.folder).stdout


def test_an_endpoint_cannot_move_the_cursor(run: Run, store: StoreFiles) -> None:
    store.lose(("total\t50\t0\tquota\t1\ta\x1b[2Jb\\tc",))
    shown = run("ls", store.folder).stdout
    assert r"a\x1b[2Jb\tc" in shown
