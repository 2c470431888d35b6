"""The hub's REST API: registry, twins, scope, telemetry."""
