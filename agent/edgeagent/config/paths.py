"""Where the configuration is on a device (agent spec 7.9)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CONFIG_FILE: Final = Path("/etc/aziot/config.toml")
"""What the operator writes."""
APPLIED_FILE: Final = Path("/etc/aziot/edged/config.toml")
"""What the agent runs with: a copy that `iotedge config apply` made when it had checked it."""
HOME: Final = Path("/var/lib/aziot/edged")
MANAGEMENT_SOCKET: Final = Path("/var/run/iotedge/mgmt.sock")
