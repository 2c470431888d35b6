"""Parts of bench/soak.py: ledger, reading of the telemetry log, slope, result."""
