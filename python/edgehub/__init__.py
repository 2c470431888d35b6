"""edgehub: an open, self-hosted hub for IoT Edge devices."""

__version__ = "0.1.0"
