"""Exceptions of xrnnbench; each message is one sentence that names the fault and the way out.

    XrnnbenchError                base class of all errors
    ├── UsageError                the request cannot be carried out (command line: exit status 2)
    │   ├── UnknownNameError      no plug-in of that name
    │   ├── ParameterError        a plug-in has no such parameter, or the value does not fit
    │   ├── SuiteError            a suite file that does not describe a grid
    │   └── DataError             inputs, files or extras that are missing or malformed
    └── CellError                 an error in one cell: it is stored as a failed cell, the others are run
        ├── ContractError         a plug-in broke its contract (shape, NaN, changed the model, …)
        ├── UnsupportedModelError this method cannot explain that model
        ├── TimeLimitError        a plug-in took longer than the time limit
        ├── MemoryLimitError      a plug-in took more memory than the memory limit, or than there is
        └── CrashError            the process of a plug-in ended without a result

    XrnnbenchWarning              base class of all warnings
    ├── AssumptionWarning         something about a user's model was assumed
    ├── CompletenessWarning       attributions miss the sum that they claim
    └── FailedCellsWarning        cells of a run failed

Only :class:`UsageError` stops a run; a :class:`CellError` is recorded in its cell and shown on the board.
"""

from __future__ import annotations

import sys
import warnings


class XrnnbenchError(Exception):
    """Base class of all errors of xrnnbench; the message is one sentence for the user."""


class UsageError(XrnnbenchError):
    """The request cannot be carried out as given; nothing was run."""


class UnknownNameError(UsageError):
    """No plug-in is registered under that name."""


class ParameterError(UsageError):
    """A plug-in has no such parameter, or the value does not fit its type."""


class SuiteError(UsageError):
    """A suite file is missing, unreadable, or does not describe a grid."""


class DataError(UsageError):
    """Inputs, files or optional packages are missing or malformed."""


class CellError(XrnnbenchError):
    """One cell of the grid failed; it is recorded, and the other cells are run."""


class ContractError(CellError):
    """A plug-in or a model broke its contract."""


class UnsupportedModelError(CellError):
    """A method does not support a model, or an operation in it, exactly."""


class TimeLimitError(CellError):
    """A plug-in took longer than the time limit of one call."""


class MemoryLimitError(CellError):
    """A plug-in took more memory than the memory limit, or than there is."""


class CrashError(CellError):
    """The process that ran a plug-in ended without a result: it crashed, exited or was killed."""


class XrnnbenchWarning(UserWarning):
    """Base class of all warnings of xrnnbench."""


class AssumptionWarning(XrnnbenchWarning):
    """Something about a user's model was assumed; the message says what, and how to say otherwise."""


class CompletenessWarning(XrnnbenchWarning):
    """Attributions that claim to sum to the difference of two scores miss it by more than 1 %."""


class FailedCellsWarning(XrnnbenchWarning):
    """Cells of a run failed; the message has the first reason."""


def warn(message: str, category: type[XrnnbenchWarning]) -> None:
    """Warn at the line outside of the package that called it."""
    depth, frame = 2, sys._getframe(1)  # noqa: SLF001  # the module inspect is slow for this
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)
