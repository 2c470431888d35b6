"""`edgehub store`: look into the files of a message store, also while a hub uses them. Changes nothing."""

from edgehub.cli.store.app import store_app

__all__ = ["store_app"]
