"""Command line: the application, its errors, and the order of its commands.

Each command is a function in the room that it belongs to, and imports what it needs only when it is called, so that
help is fast.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import UsageError, XrnnbenchWarning
from ..visible_text import visible
from .execution import commands as execution
from .execution import doctor_commands
from .explore import commands as explore
from .gate import commands as gate
from .outer_net import OPTION, Passing, end_in_a_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

# Options of earlier versions, and what they are called now.
RENAMED = {"--output": "--save", "--beside": "--reference-rows"}


class _Commands(TyperGroup):
    """The commands, with their errors as they are: of an end of input, typer would make "Aborted." and status 1."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Any = None,  # noqa: ANN401  # as typer's
        **extra: Any,  # noqa: ANN401  # as above
    ) -> Any:  # noqa: ANN401  # as above
        """See the base class."""
        with _passing():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # as typer's
        """See the base class."""
        with _passing():
            return super().invoke(ctx)


@contextlib.contextmanager
def _passing() -> Iterator[None]:
    """Context out of which errors pass through typer as they are."""
    try:
        yield
    except typer.Abort as error:
        # a question was not answered
        stopped = isinstance(error.__context__, KeyboardInterrupt)
        answer = KeyboardInterrupt() if stopped else UsageError("There was no answer: add --yes.")
        raise Passing(answer) from error
    except (EOFError, KeyboardInterrupt, OSError, SystemExit) as error:
        raise Passing(error) from error


app = typer.Typer(
    name="xrnnbench",
    help="Measure whether explanations of recurrent networks are true.",
    no_args_is_help=True,
    add_completion=False,
    cls=_Commands,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line in its outer net."""
    end_in_a_sentence(application)


def application() -> None:
    """Run the command line: an error is an exception, a warning is one sentence on the standard error stream.

    Raises:
        UsageError: the command cannot be carried out.
    """
    _refuse_renamed(sys.argv[1:])
    _refuse_no_folder()
    with warnings.catch_warnings():
        warnings.showwarning = _showing(warnings.showwarning)
        app()


def _showing(others: Callable[..., None]) -> Callable[..., None]:
    """Function that shows a warning of the package as one sentence, since no line of a user's program caused it.

    Args:
        others: shows all other warnings.
    """

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: TextIO | str | None
    ) -> None:
        if issubclass(category, XrnnbenchWarning):
            print(f"xrnnbench: warning: {visible(str(message))}", file=sys.stderr)  # noqa: T201  # the command line's own output
        else:
            others(message, category, filename, lineno, *rest)

    return show


def _refuse_renamed(words: list[str]) -> None:
    """Name the new option where a command line has one of an earlier version.

    Raises:
        UsageError: it has.
    """
    for word in words:
        option = word.partition("=")[0]
        if option in RENAMED:
            raise UsageError(f"The option {option} is now {RENAMED[option]}: write {RENAMED[option]} in its place.")


def _refuse_no_folder() -> None:
    """Refuse to work in a folder that is gone; some libraries end the process there without a word.

    Raises:
        UsageError: the working directory cannot be found.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(f"The current folder is gone ({error.strerror}): change to one that exists.") from error


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    traceback: Annotated[  # the outer net takes it, wherever it stands
        bool, typer.Option(OPTION, help="Show where an error came from, here instead of in a file.")
    ] = False,
) -> None:
    """Measure whether explanations of recurrent networks are true."""


# The order of work: run and read, guard, look at what there is, publish.
COMMANDS: dict[str, Callable[..., None]] = {
    "run": execution.run,
    "plan": execution.plan,
    "merge": execution.merge,
    "leaderboard": execution.leaderboard,
    "doctor": doctor_commands.doctor,
    "explain": explore.explain,
    "inspect": explore.inspect,
    "compare": gate.compare,
    "bless": gate.bless,
    "costs": gate.costs,
    "list": explore.list_,
    "show": explore.show,
    "check": explore.check,
    "download": explore.download,
    "pages": explore.pages,
    "publish": execution.publish,
}
for _name, _command in COMMANDS.items():
    app.command(name=_name)(_command)
