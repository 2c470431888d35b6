"""`edgeagent run`: puts the parts together, runs them, and ends them in order."""
