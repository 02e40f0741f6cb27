"""The tree of errors: every one is a sentence that names the thing and the way out.

    XrnnbenchError                something xrnnbench can say in one sentence
    ├── UsageError                what was asked for cannot be done as asked (command line: exit status 2)
    │   ├── UnknownNameError      no plug-in of that name
    │   ├── ParameterError        a plug-in has no such parameter, or the value does not fit
    │   ├── SuiteError            a suite file that does not say what to run
    │   └── DataError             inputs, files or extras that are missing or malformed
    └── CellError                 one cell's fault: it is kept as a failed cell, the others go on
        ├── ContractError         a plug-in broke its contract (shape, NaN, changed the model, …)
        └── UnsupportedModelError this method cannot explain that model

Only :class:`UsageError` stops a run; a :class:`CellError` is recorded in its cell and shown on the board.
"""

from __future__ import annotations


class XrnnbenchError(Exception):
    """Anything xrnnbench refuses, in one sentence meant for its user."""


class UsageError(XrnnbenchError):
    """What was asked for cannot be done as asked; nothing was run."""


class UnknownNameError(UsageError):
    """No plug-in is registered under that name."""


class ParameterError(UsageError):
    """A plug-in has no such parameter, or the value does not fit its type."""


class SuiteError(UsageError):
    """A suite file is missing, unreadable, or does not describe a grid."""


class DataError(UsageError):
    """Inputs, files or optional packages are missing or malformed."""


class CellError(XrnnbenchError):
    """One cell of the grid failed; it is recorded and the grid goes on."""


class ContractError(CellError):
    """A plug-in or a model broke its contract."""


class UnsupportedModelError(CellError):
    """A method met a model, or an operation in it, that it has no exact answer for."""
