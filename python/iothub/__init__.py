"""iothub: a self-hosted IoT Hub. Registry, twins and telemetry over IoT Hub's own protocols.

Embed it with `iothub.server.HubServer`, or run `iothub serve`.
"""
