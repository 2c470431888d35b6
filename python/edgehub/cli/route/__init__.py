"""`edgehub route`: check routes, explain one message, match a file of messages, without a running hub."""

from edgehub.cli.route.app import route_app

__all__ = ["route_app"]
