"""Deployment manifests: reading, checking, and what is odd in them. Pure: no I/O, no clock."""
