"""Where on this machine things are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "XRNNBENCH_CACHE"


def folder() -> Path:
    """The cache: the environment variable ``XRNNBENCH_CACHE``, or the user's cache folder."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("xrnnbench", appauthor=False))
