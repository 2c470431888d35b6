"""Runtime-quality telemetry: anonymised metrics of the runtime, for the operator's own hub (agent spec 6.4)."""
