"""Twins: the desired and reported documents of every identity."""
