"""Direct methods, from the service to clients."""
