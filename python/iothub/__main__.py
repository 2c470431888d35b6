"""`python -m iothub`."""

from iothub.cli import main

if __name__ == "__main__":
    main()
