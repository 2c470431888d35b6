"""The way to the upstream hub as the module `$edgeAgent`: MQTT, over TCP or over WebSocket."""
