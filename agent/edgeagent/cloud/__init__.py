"""All that concerns the upstream hub, put together."""
