"""xrnnbench: a benchmark that measures whether explanations of recurrent networks are true.

Tasks provide trained models and data, methods explain the models, metrics score the attributions, and the harness runs
the grid, stores every score with its origin and publishes leaderboards. The public names are listed in ``__init__.pyi``
and imported on first use, so that ``import xrnnbench`` loads neither torch nor a plug-in.
"""

from __future__ import annotations

import lazy_loader

from . import moved

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

moved.install()
