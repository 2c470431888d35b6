"""Identities of the modules of this device in the hub's registry (agent spec 2.7 and 7.7)."""
