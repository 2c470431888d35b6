"""Options of the crash tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite runs a short form; `make crash` the long one."""
    parser.addoption("--crash-rounds", type=int, default=3, help="how often the hub is killed (3)")


@pytest.fixture
def crash_rounds(request: pytest.FixtureRequest) -> int:
    """How often the hub is killed."""
    return int(request.config.getoption("--crash-rounds"))
