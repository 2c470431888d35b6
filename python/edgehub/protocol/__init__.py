"""Sans-IO protocol pieces shared by the hub, its upstream link and the self-hosted IoT Hub.

Nothing here opens a socket, awaits, or reads a clock; the time is passed in.
"""
