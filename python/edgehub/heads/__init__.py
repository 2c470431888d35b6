"""Protocol heads: they turn events of the core into decisions and answers."""
