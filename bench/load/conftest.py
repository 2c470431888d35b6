"""Marks this folder as the root that the tests import compare.py and its parts from."""
