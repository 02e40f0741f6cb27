"""Places of errors: the line of an author's own file from which an exception came."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE: Final = re.compile(r'^ +File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_BEGIN: Final = "Traceback (most recent call last):"
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Place:
    """Place in a file that a traceback names.

    Attributes:
        file: path of the file.
        line: number of the line, from 1.
        function: name of the function.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """``method.py, line 12, in attribute``; the path is relative if the file is below the current folder."""
        path, here = Path(self.file), Path.cwd()
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        return f"{shown}, line {self.line}, in {self.function}"


def place_of(error: BaseException, *classes: type) -> Place | None:
    """The place from which an exception came; None if it has no traceback. See :func:`own_place`."""
    frames = traceback.extract_tb(error.__traceback__)
    return own_place((Place(frame.filename, frame.lineno or 0, frame.name) for frame in frames), *classes)


def place_in(trace: str, *classes: type) -> Place | None:
    """The same of an exception whose traceback is a text; None if there is none in it."""
    last = trace.rpartition(_BEGIN)[2]
    frames = (Place(found["file"], int(found["line"]), found["function"]) for found in _LINE.finditer(last))
    return own_place(frames, *classes)


def own_place(frames: Iterable[Place], *classes: type) -> Place | None:
    """The place of a traceback at which an author looks first.

    Args:
        frames: the places of the traceback, that of the exception last.
        classes: the plug-ins that may be at fault.

    Returns:
        the last place in a file that does not belong to Python, xrnnbench or an installed package; or else the last one
        in the files of the plug-ins; or else the last one. None if there are no places.
    """
    places = list(frames)
    own = [place for place in places if not is_library(place.file)]
    files = {_file_of(cls) for cls in classes} - {""}
    of_plugins = [place for place in places if place.file in files]
    return next((found[-1] for found in (own, of_plugins, places) if found), None)


def is_expected(kind: str) -> bool:
    """Whether a class of this name is an error of xrnnbench, whose message says all that there is to say."""
    cls = getattr(errors, kind, None)
    return isinstance(cls, type) and issubclass(cls, errors.XrnnbenchError)


def _file_of(cls: type) -> str:
    """File of the module of a class; empty if it has none."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")


def is_library(file: str) -> bool:
    """Whether a file belongs to Python, to xrnnbench or to an installed package."""
    path = Path(file)
    if file.startswith("<") or not _INSTALLED.isdisjoint(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in (sysconfig.get_path("stdlib"), *package_folders()))


def package_folders() -> list[str]:
    """The folders of xrnnbench; in an editable installation its floors are not below it."""
    floors = ("", ".harness", ".metrics", ".methods", ".tasks")
    modules = (sys.modules.get(f"{__package__}{floor}") for floor in floors)
    return [folder for module in modules if module is not None for folder in module.__path__]
