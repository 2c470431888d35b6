"""What `iotedge check` looks at (agent spec 8.2)."""
