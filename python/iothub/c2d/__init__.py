"""Cloud-to-device messages, and feedback on what became of them (section 5)."""
