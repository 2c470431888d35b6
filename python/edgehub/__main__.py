"""`python -m edgehub` is the command `edgehub`."""

import sys

from edgehub.cli import main

if __name__ == "__main__":
    sys.exit(main())
