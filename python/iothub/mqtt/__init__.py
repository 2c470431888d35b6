"""MQTT for devices and modules, over TLS and over WebSocket: the hub's own head on the engine of edgehub."""
