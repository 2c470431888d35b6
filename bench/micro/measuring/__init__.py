"""What the tools of this folder share."""
