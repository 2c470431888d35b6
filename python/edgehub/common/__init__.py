"""Small pieces without policy that several packages share."""
