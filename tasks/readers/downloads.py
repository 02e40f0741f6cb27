"""Where the files of a data set are: nothing is fetched unless asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ...errors import DataError

VARIABLE: Final = "XRNNBENCH_DATA"


def located(name: str) -> Path:
    """The folder in which the files of a data set lie, unpacked, under the paths they have in its archives.

    Args:
        name: of the data set.

    Raises:
        DataError: they are not there.
    """
    folder = os.environ.get(VARIABLE)
    if folder and (Path(folder) / name).is_dir():
        return Path(folder) / name
    raise DataError(f"The data set {name!r} is not here: fetch it with 'xrnnbench download {name}'.")
