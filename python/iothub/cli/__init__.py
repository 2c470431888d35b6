"""The `iothub` command line."""
