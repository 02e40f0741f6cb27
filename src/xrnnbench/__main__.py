"""Entry point of the command line, also for ``python -m xrnnbench``."""

from .harness.outer_net import end_in_a_sentence


def main() -> None:
    """Run the command line in its outer net, which catches what fails while it is imported too."""
    end_in_a_sentence(_command_line, last=True)


def _command_line() -> None:
    from .harness.cli import application  # noqa: PLC0415  # see main

    application()


if __name__ == "__main__":
    main()
