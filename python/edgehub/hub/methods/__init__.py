"""Direct methods: calls to clients that are connected here, from other clients or from the parent hub."""
