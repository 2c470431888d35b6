"""Prometheus metrics and the health answer."""
