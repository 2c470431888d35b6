"""Reading files of the message store in Python, for tools."""

from edgehub.store_files.spill import read_spilled

__all__ = ["read_spilled"]
