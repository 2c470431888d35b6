"""Secrets are compared in constant time, wherever they are."""

from __future__ import annotations

import ast
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgehub.identity.client_certificates import registered_thumbprint
from edgehub.protocol import sas

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = Path(__file__).resolve().parents[2] / "python"
FOLDERS = ("edgehub/identity", "edgehub/protocol", "edgehub/heads", "edgehub/hub", "iothub")
SECRETS = {
    "digest", "expected", "key", "keys", "password", "primary_key", "primary_thumbprint", "secondary_key",
    "secondary_thumbprint", "secret", "shared_access_key", "sig", "signature", "thumbprint", "thumbprints",
}  # fmt: skip
"""Names of values that prove something, with or without an underscore before them."""
KEYS_OF_IDENTITIES = (
    "edgehub/identity/",
    "edgehub/protocol/sas.py",
    "edgehub/hub/own_key.py",
    "iothub/auth.py",
    "iothub/policies.py",
)
"""Where a `key` is one that signs; elsewhere it is mostly that of a table."""
SAME_TEXT = {"lower", "upper", "strip", "encode", "decode", "casefold", "hexdigest", "digest"}
"""What gives a secret in another form."""


def secret_in(node: ast.expr) -> str | None:
    """Name of the secret that an operand is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAME_TEXT:
        return secret_in(node.func.value) or (node.func.attr if "digest" in node.func.attr else None)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name if name.lstrip("_") in SECRETS else None


def plain_comparisons(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every secret that `==`, `!=` or `in` compares with something that varies."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(found, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for found in node.ops):
            continue
        operands = [node.left, *node.comparators]
        if any(isinstance(operand, ast.Constant) for operand in operands):
            continue
        for operand in operands:
            name = secret_in(operand)
            if name is not None:
                yield node.lineno, name


def test_no_secret_is_compared_with_an_operator() -> None:
    found = []
    for path in (path for folder in FOLDERS for path in sorted((PYTHON / folder).rglob("*.py"))):
        place = str(path.relative_to(PYTHON))
        for line, name in plain_comparisons(path.read_text()):
            if name.lstrip("_") not in ("key", "keys") or place.startswith(KEYS_OF_IDENTITIES):
                found.append(f"{place}:{line} {name}")
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "if token.signature == expected: pass",
        "x = self._key in signer.keys",
        "return password != given",
        "ok = hmac.new(k, d).hexdigest() == header",
        "a == b.thumbprint.lower()",
    ],
)
def test_the_search_finds_them(source: str) -> None:
    assert list(plain_comparisons(f"def f():\n    {source}\n"))


def test_what_is_compared_with_a_constant_is_none() -> None:
    assert list(plain_comparisons('if password == "" or key is None or len(secret) != 32: pass')) == []


def test_tokens_and_thumbprints_go_through_the_constant_time_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key, wrong = "AAECAwQFBgcICQoLDA0ODw==", "AAAAAAAAAAAAAAAAAAAAAA=="
    token = sas.parse_token(sas.build_token("h/devices/d", 1, key=key))
    assert token.signing_key([wrong, key]) == key
    assert len(compared) == 2
    assert all(len(one) == len(other) == 32 for one, other in compared)
    compared.clear()
    thumbprints = ["00" * 20, "11" * 32]
    assert registered_thumbprint(b"certificate", thumbprints) is None
    assert len(compared) == 4, "with both kinds of digest, whatever the first bytes are"
