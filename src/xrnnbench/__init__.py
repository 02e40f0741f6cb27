"""xrnnbench measures whether explanations of recurrent networks are true.

Tasks hand out trained models and data, methods explain them, metrics judge the explanations, and the harness runs the
grid, keeps every number with its origin and publishes leaderboards. Names are imported on first use, so that
``import xrnnbench`` loads neither torch nor a plug-in.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import (
        CellError,
        ContractError,
        DataError,
        ParameterError,
        SuiteError,
        UnknownNameError,
        UnsupportedModelError,
        UsageError,
        XrnnbenchError,
    )
    from .harness.archive import Archive, read_results
    from .harness.benchmark import Benchmark, Run
    from .harness.explaining import explain
    from .harness.gate import Comparison, bless, compare
    from .harness.leaderboard import Leaderboard
    from .methods.base import Attribution, Explainer
    from .metrics.base import Evidence, Metric
    from .plugins import build, names, register
    from .tasks.base import Task
    from .tasks.data import Batch, Competence, Truth
    from .tasks.models.networks import AttentionRNN, RecurrentNet
    from .tasks.subject import Cost, Subject

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "CellError", "ContractError", "DataError", "ParameterError", "SuiteError", "UnknownNameError",
        "UnsupportedModelError", "UsageError", "XrnnbenchError",
    ),
    "harness.archive": ("Archive", "read_results"),
    "harness.benchmark": ("Benchmark", "Run"),
    "harness.explaining": ("explain",),
    "harness.gate": ("Comparison", "bless", "compare"),
    "harness.leaderboard": ("Leaderboard",),
    "methods.base": ("Attribution", "Explainer"),
    "metrics.base": ("Evidence", "Metric"),
    "plugins": ("build", "names", "register"),
    "tasks.base": ("Task",),
    "tasks.data": ("Batch", "Competence", "Truth"),
    "tasks.models.networks": ("AttentionRNN", "RecurrentNet"),
    "tasks.subject": ("Cost", "Subject"),
}  # fmt: skip
_MODULE_OF = {name: module for module, found in _HOMES.items() for name in found}

__all__ = [
    "Archive", "AttentionRNN", "Attribution", "Batch", "Benchmark", "CellError", "Comparison", "Competence",
    "ContractError", "Cost", "DataError", "Evidence", "Explainer", "Leaderboard", "Metric", "ParameterError",
    "RecurrentNet", "Run", "Subject", "SuiteError", "Task", "Truth", "UnknownNameError", "UnsupportedModelError",
    "UsageError", "XrnnbenchError", "bless", "build", "compare", "explain", "names", "read_results", "register",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'xrnnbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
