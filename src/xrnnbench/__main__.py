"""Entry point of the command line, also for ``python -m xrnnbench``."""

import os
import signal


def main() -> None:
    """Run the command line in its outer net, which catches what fails while it is imported too."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from .harness.outer_net import end_in_a_sentence  # noqa: PLC0415  # after the handlers of the signals are set

    end_in_a_sentence(_command_line, last=True)


def _end(number: int, _: object) -> None:
    """End the process before there is anything to clean up."""
    os.write(2, b"Stopped.\n")
    os._exit(128 + number)


def _command_line() -> None:
    from .harness.cli import application  # noqa: PLC0415  # its imports may fail, which the net catches

    application()


if __name__ == "__main__":
    main()
