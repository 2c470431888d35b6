"""edgeagent: turns a deployment manifest into running containers, and keeps them so."""

__version__ = "0.1.0"
