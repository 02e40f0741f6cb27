"""Importing this module loads what cell processes need: torch, and all plug-ins that are installed.

The server process of a worker does so before it is copied; see :mod:`.process_start`.
"""

from __future__ import annotations

import contextlib

from ....plugins import FLOORS, names
from . import cell_server

__all__ = ["cell_server"]

for _kind in FLOORS:
    # a plug-in of another package that cannot be imported is an error of the run that names it
    with contextlib.suppress(Exception):
        names(_kind)
