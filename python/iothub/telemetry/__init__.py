"""The durable telemetry log: written before a device hears "accepted", read by anyone who tails it."""
