"""What the agent reports about itself and its modules (agent spec 1.8 to 1.10)."""
