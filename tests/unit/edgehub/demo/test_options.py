from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.options import MARGIN_S, SECONDS_MAX, SECONDS_MIN, Options, parse_options

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults() -> None:
    assert parse_options([]) == Options(seconds=30.0, rate=50.0, outage_s=6.0)


def test_the_outage_of_a_short_run_is_short() -> None:
    assert parse_options(["--seconds", "12"]).outage_s == 3.0


@given(st.floats(SECONDS_MIN, SECONDS_MAX))
def test_a_run_of_any_length_has_an_outage_by_default(seconds: float) -> None:
    assert parse_options(["--seconds", str(seconds)]).outage_s > 0


@given(st.floats(SECONDS_MIN, SECONDS_MAX), st.floats(0, 1))
def test_the_outage_lies_within_the_run(seconds: float, share: float) -> None:
    outage_s = round((seconds - 2 * MARGIN_S) * share, 3)
    options = parse_options(
        ["--seconds", f"{seconds:.3f}", "--outage-seconds", str(max(0.0, outage_s - 0.001))]
    )
    assert (
        MARGIN_S - 0.01 <= options.outage_start_s <= options.outage_end_s <= options.seconds - MARGIN_S + 0.01
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seconds", "1"], "--seconds 1: from 5 to 3600"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--seconds", "soon"], "invalid float value"),
        (["--rate", "0"], "--rate 0: more than 0"),
        (["--rate", "-3"], "--rate -3"),
        (["--rate", "nan"], "--rate nan"),
        (["--rate", "1e9"], "at most 500"),
        (["--outage-seconds", "-1"], "--outage-seconds -1: from 0 to 26"),
        (["--outage-seconds", "27"], "--outage-seconds 27: from 0 to 26 in a run of 30 s"),
        (["--outage-seconds", "nan"], "--outage-seconds nan"),
        (["more"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_are_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_options(argv)
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_with_content_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_options(["--data-dir", str(tmp_path)]).data_dir == tmp_path
    (tmp_path / "x").touch()
    for taken in (tmp_path, tmp_path / "x"):
        with pytest.raises(SystemExit):
            parse_options(["--data-dir", str(taken)])
        assert "expected a new or empty folder" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse_options(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "edgehub demo --json" in text
