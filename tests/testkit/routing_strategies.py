"""Routes and messages made at random, small enough that routes match often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "Temp", "größe", "nil")
TEXTS = ("", "x", "X", "3", " 2.5 ", "é😀", "true")
SOURCES = (
    "/messages/",
    "/messages",
    "/messages/modules/m1",
    "/messages/modules/M1/outputs/o1/",
    "/messages/modules/m2/outputs/o1",
    "/twinChangeNotifications/",
    "/plant/line",
)
PATTERNS = (
    "/*",
    "/messages",
    "/messages/*",
    "/messages/modules/*",
    "/messages/modules/m1",
    "/messages/modules/m1/outputs/*",
    "/messages/modules/M1/outputs/O1",
    "/twinChangeNotifications/*",
    "/Plant/*",
    "/nowhere",
)
BODIES = ("", "{", '{"a":1}', '{"a":{"b":"x"},"c":[3,true,null]}', '{"a":"é\\n"}')


def _operands() -> st.SearchStrategy[str]:
    quoted = st.sampled_from(TEXTS).map(lambda text: f"'{text}'")
    names = st.sampled_from((*NAMES, "$cid", "none"))
    return st.one_of(quoted, names, names.map(lambda name: f"upper({name})"))


def _numbers() -> st.SearchStrategy[str]:
    names = st.sampled_from(NAMES).map(lambda name: f"as_number({name})")
    return st.one_of(st.integers(-2, 5).map(str), names, st.sampled_from(NAMES).map("length({})".format))


def _comparisons() -> st.SearchStrategy[str]:
    operator = st.sampled_from(("=", "<>", "<", "<=", ">", ">="))
    texts = st.tuples(_operands(), operator, _operands())
    numbers = st.tuples(_numbers(), operator, _numbers())
    paths = st.sampled_from(("$body.a", "$body.a.b", "$body.c[0]", "$body.none"))
    bodies = st.tuples(paths, operator, st.sampled_from(("1", "'x'", "null", "3", "true")))
    return st.one_of(texts, numbers, bodies).map(" ".join)


def conditions() -> st.SearchStrategy[str]:
    """Conditions that compile."""
    leaves = st.one_of(
        _comparisons(),
        st.sampled_from(("true", "false", "undefined = undefined", "is_defined(a)", "is_null(nil)")),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(("AND", "OR")), inner).map(
                lambda t: f"({t[0]}) {t[1]} ({t[2]})"
            ),
            inner.map("NOT ({})".format),
        ),
        max_leaves=6,
    )


@st.composite
def route(draw: st.DrawFn) -> dict[str, Any]:
    """A route in its object form."""
    condition = draw(st.none() | conditions())
    where = "" if condition is None else f" WHERE {condition}"
    sink = draw(st.sampled_from(("$upstream", 'BrokeredEndpoint("/modules/m/inputs/i")', "$UPSTREAM")))
    return {
        "route": f"FROM {draw(st.sampled_from(PATTERNS))}{where} INTO {sink}",
        "priority": draw(st.none() | st.integers(0, 9) | st.just(2_000_000_000)),
        "timeToLiveSecs": draw(st.none() | st.integers(0, 2**32 - 1)),
    }


def routes() -> st.SearchStrategy[dict[str, dict[str, Any]]]:
    """Declared routes by name."""
    names = st.text("rsé🙂", min_size=1, max_size=3)
    return st.dictionaries(names, route(), max_size=8)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message; any of its keys may be missing."""
    values = st.none() | st.sampled_from(TEXTS)
    system: dict[str, str | None] = draw(st.dictionaries(st.sampled_from(("cid", "userId")), values))
    if draw(st.booleans()):
        system |= {"contentType": "application/json", "contentEncoding": "utf-8"}
    message: dict[str, Any] = {
        "source": draw(st.sampled_from(SOURCES)),
        "systemProperties": system,
        "properties": draw(st.dictionaries(st.sampled_from((*NAMES, "other")), values)),
        "body": draw(st.sampled_from(BODIES)),
    }
    for key in draw(st.sets(st.sampled_from(tuple(message)))):
        del message[key]
    return message
