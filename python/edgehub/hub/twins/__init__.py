"""Twins of clients: answered from the parent hub or from the store, in step while the link comes and goes."""
