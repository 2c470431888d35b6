"""Errors of the demo. Each text is the one line a user sees: what is wrong, where, and what would help."""

from edgehub.errors import EdgehubError


class DemoError(EdgehubError):
    """The demo cannot go on."""


class MissingPackageError(DemoError):
    """A package that the demo needs is not installed.

    :param package: its name.
    :param remedy: what to install and how, for the message.
    """

    def __init__(self, package: str, remedy: str = "the demo's extra, pip install 'edgehub[demo]'") -> None:
        super().__init__(f"the package {package} is missing; install {remedy} (in a checkout: make setup)")


class ReadingsError(DemoError):
    """The data set has content that cannot be read."""


class ChildError(DemoError):
    """A child process ended, or did not become ready."""


class PortError(DemoError):
    """An address cannot be listened on."""
