"""Direct methods of `$edgeAgent` (agent spec 5)."""
