"""docs/router.md: its examples run, and it names every function and command."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.router import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[5]
PAGE = ROOT / "docs" / "router.md"

MESSAGE = {"properties": {"n": "2", "s": "text"}}

# Each function of the table with a call that is true.
CALLS = {
    "abs": "abs(-2) = 2",
    "ceiling": "ceiling(1.5) = 2",
    "floor": "floor(1.5) = 1",
    "exp": "exp(0) = 1",
    "square": "square(3) = 9",
    "sqrt": "sqrt(9) = 3 AND NOT is_defined(sqrt(-1))",
    "sign": "sign(-5) = -1",
    "power": "power(2, 3) = 8",
    "as_number": "as_number('(1,234.5)') = -1234.5 AND as_number(n) = 2",
    "is_bool": "is_bool(true)",
    "is_defined": "is_defined(n) AND NOT is_defined(none)",
    "is_null": "is_null(null) AND NOT is_null(n)",
    "is_number": "is_number(as_number(n)) AND NOT is_number(1/0)",
    "is_string": "is_string(n)",
    "concat": "concat(n, '-', s) = '2-text'",
    "length": "length(s) = 4",
    "lower": "lower('TEXT') = s",
    "upper": "upper(s) = 'TEXT'",
    "substring": "substring(s, 1) = 'ext' AND substring(s, 1, 2) = 'ex' AND NOT is_defined(substring(s, 4, 0))",  # noqa: E501
    "index_of": "index_of(s, 'xt') = 2 AND index_of(s, 'z') = -1",
    "starts_with": "starts_with(s, 'te')",
    "ends_with": "ends_with(s, 'xt')",
    "contains": "contains(s, 'ex')",
}


# Each oddity of the page with conditions that are true.
ODDITIES = [
    "$body.missing > 5 AND $body.missing <> 'x' AND $body.missing = null",
    "is_defined($body.missing)",
    "is_null($body.number) AND NOT is_null($body.missing)",
    "NOT is_defined($body.number AND true)",
    "NOT is_defined($body.stamp) AND is_defined($body.day)",
    "$body.named = 'property'",
    "(none ?? 'x') = 'x'",
    "a-b = 'dash'",
    "$n = 'property' AND {$n} = 'system'",
    "NOT is_defined(none = 'x') AND is_null(empty)",
]
ODD_MESSAGE = {
    "systemProperties": {"contentType": "application/json", "contentEncoding": "utf-8", "n": "system"},
    "properties": {"$body.named": "property", "$n": "property", "a-b": "dash", "empty": None},
    "body": '{"number": 5, "stamp": "2020-01-01T00:00:00Z", "day": "2020-01-01", "named": 1}',
}


def test_python_examples_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried > 10
    assert failed == 0


def test_the_rust_example_is_the_one_that_is_built() -> None:
    (shown,) = re.findall(r"```rust\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown in (ROOT / "rust/router/examples/embed.rs").read_text()


def test_the_table_names_every_function() -> None:
    section = PAGE.read_text().partition("### Functions")[2].partition("### Limits")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if "|" in line]
    named = set(re.findall(r"`([a-z_]+)\(", "\n".join(first_cells)))
    assert named == CALLS.keys() | {"twin_change_includes"}


@pytest.mark.parametrize("condition", CALLS.values(), ids=CALLS.keys())
def test_functions_do_what_the_table_says(condition: str) -> None:
    assert Condition(condition).evaluate(MESSAGE) == "true"


@pytest.mark.parametrize("condition", ODDITIES)
def test_oddities_are_as_the_page_says(condition: str) -> None:
    assert Condition(condition).evaluate(ODD_MESSAGE) == "true"


def test_the_example_of_the_language_compiles(run: Callable[..., Any], write: Callable[..., str]) -> None:
    (example,) = re.findall(r"```\n(FROM .*?)```", PAGE.read_text(), re.DOTALL)
    assert run("check", write({"example": example.strip()})).exit_code == 0
