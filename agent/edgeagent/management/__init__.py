"""The management API: what `iotedge` and support tools ask of a running agent (agent spec 7.4)."""
