"""Cache folder: the place on this machine for trained models and downloaded data."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "XRNNBENCH_CACHE"


def folder() -> Path:
    """Path of the cache folder: the environment variable ``XRNNBENCH_CACHE``, or else the user's cache folder."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("xrnnbench", appauthor=False))
