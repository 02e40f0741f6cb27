"""Functions that all plug-ins call, and that none may replace: of xrnnbench, torch, NumPy and the standard library."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import inspect
import itertools
import json
import math
import operator
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from ....plugins import registered
from ....tasks.engine.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_PACKAGE: Final = __name__.partition(".")[0]
_LIBRARIES: Final = (
    *(torch, torch.nn.functional, torch.autograd, torch.linalg, np, np.random, np.linalg),
    *(copy, functools, hashlib, importlib, itertools, json, math, operator, os, random, time),
)


def code_snapshot() -> Snapshot:
    """Snapshot of the functions as they are now."""
    snapshot = Snapshot()
    for module in (*_LIBRARIES, *_own_modules()):
        snapshot.add_functions(module)
    for cls in dict.fromkeys(base for plugin in registered() for base in plugin.__mro__):
        if cls.__module__.startswith(f"{_PACKAGE}."):
            snapshot.add_class(cls)
    snapshot.add_functions(torch.Tensor)
    return snapshot


def _own_modules() -> Iterator[ModuleType]:
    """Modules of xrnnbench that are loaded."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}.") and inspect.ismodule(module):
            yield module
