"""Settings from the environment and the desired properties of `$edgeHub`."""
