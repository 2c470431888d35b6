"""What a deployment asks for and what runs, as plain values. Pure: no I/O, no clock."""
