"""The hub's own state: connections, sessions, routes, and the twin of `$edgeHub`."""
