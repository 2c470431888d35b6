"""edgehub: an open, self-hosted hub for IoT Edge devices."""
