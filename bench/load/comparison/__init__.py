"""Parts of compare.py: brokers, processes, summary."""
