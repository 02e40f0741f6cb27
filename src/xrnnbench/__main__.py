"""Entry point of the command line, also for ``python -m xrnnbench``."""

import atexit
import os
import signal

# Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def main() -> None:
    """Run the command line in its outer net, which catches what fails while it is imported too."""
    atexit.register(_ignore_signals)  # the first to be registered is the last to be called
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from .harness.outer_net import end_in_a_sentence  # noqa: PLC0415  # after the handlers of the signals are set

    end_in_a_sentence(_command_line, last=True)


def _end(number: int, _: object) -> None:
    """End the process before there is anything to clean up."""
    os.write(2, b"Stopped.\n")
    os._exit(128 + number)


def _ignore_signals() -> None:
    """Keep the exit status: while Python takes its modules apart, it gives the signals their default effect again."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _command_line() -> None:
    from .harness.cli import application  # noqa: PLC0415  # its imports may fail, which the net catches

    application()


if __name__ == "__main__":
    main()
