from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from edgeagent.workload.certificates import self_signed_ca

if TYPE_CHECKING:
    from edgeagent.workload.certificates import CertificateAuthority

NOW = datetime(2026, 8, 1, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def quick_start_ca() -> CertificateAuthority:
    """A CA made at `NOW`, once for all tests: keys take a while."""
    return self_signed_ca("dev1", NOW, timedelta(days=90))


@pytest.fixture
def now() -> datetime:
    return NOW
