"""Identities: devices, modules, their credentials and who is below whom."""
