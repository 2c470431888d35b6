"""Images that nothing has used for long are deleted (agent spec 7.10)."""
