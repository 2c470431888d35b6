"""Runtime-quality telemetry: anonymised metrics for the operator's own hub (agent spec 6.4)."""
