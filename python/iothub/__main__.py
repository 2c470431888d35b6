"""`python -m iothub`."""

from iothub.cli.app import main

if __name__ == "__main__":
    main()
