"""Where the deployment comes from: the twin of `$edgeAgent`, or a file; and its last good form on disk."""
