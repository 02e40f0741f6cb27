"""Entry point of ``python -m xrnnbench``: the command line."""

from .harness.cli import main

if __name__ == "__main__":
    main()
