"""Decides the next steps from what is desired and what is there. Pure: no I/O, time is passed in."""
