"""The name of a device or module, as every part of the hub writes it."""

from __future__ import annotations

from typing import NamedTuple

EDGE_HUB_MODULE_ID = "$edgeHub"
"""Module id of the hub itself."""

IDENTITY_ID_CHARS_MAX = 2 * 128 + 1
"""Device and module ids have at most 128 characters each (IoT Hub identity registry)."""


class IdentityId(NamedTuple):
    """A device (`d1`) or a module of a device (`d1/m1`). Case-sensitive.

    A tuple, because it is the key of most maps of the control plane: no other class hashes as fast.
    """

    device_id: str
    module_id: str | None = None

    def __str__(self) -> str:
        return self.device_id if self.module_id is None else f"{self.device_id}/{self.module_id}"

    @property
    def is_module(self) -> bool:
        return self.module_id is not None

    @property
    def device(self) -> IdentityId:
        """The device that this identity is or belongs to."""
        return self if self.module_id is None else IdentityId(self.device_id)

    @classmethod
    def parse(cls, text: str) -> IdentityId:
        """Reads `device` or `device/module`.

        :raises ValueError: an empty part, or more than two parts.
        """
        device_id, separator, module_id = text.partition("/")
        if not device_id or (separator and not module_id) or "/" in module_id:
            raise ValueError(f"{text!r} is not an identity: write `device` or `device/module`")
        return cls(device_id, module_id if separator else None)
