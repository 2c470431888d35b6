"""Labels by which the agent knows its containers (agent spec 3.2)."""

from __future__ import annotations

from typing import Final

OWNER: Final = "net.azure-devices.edge.owner"
OWNER_VALUE: Final = "Microsoft.Azure.Devices.Edge.Agent"
"""As in the reference, so that containers that it left behind are ours."""
OURS: Final = f"{OWNER}={OWNER_VALUE}"
"""For the label filter of the engine."""
ORIGINAL_IMAGE: Final = "net.azure-devices.edge.original-image"
SPEC_HASH: Final = "net.azure-devices.edge.spec-hash"
"""Digest of what the container was made of: `Module.spec_hash`."""
CREATE_OPTIONS: Final = "net.azure-devices.edge.create-options"
ENV: Final = "net.azure-devices.edge.env"
GENERATION_VARIABLE: Final = "IOTEDGE_MODULEGENERATIONID"
"""In the environment of every container: the generation of its identity."""
