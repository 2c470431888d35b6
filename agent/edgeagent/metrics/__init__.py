"""Metrics of the agent and of its modules (agent spec 6.1, 6.2)."""
