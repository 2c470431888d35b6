"""The loop that brings the device to its deployment, and what it remembers."""
