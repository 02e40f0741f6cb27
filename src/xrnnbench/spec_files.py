"""Specs of plug-ins as text: the file of a class, and other files that a spec names, without loading a plug-in.

Examples: ``./mine.py:Mine``, ``csv:path=data.csv,predict=label``, ``comprehensiveness:by=./mine.py:Mine:draws=2``.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .bounded_files import is_file, user_path
from .errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = re.compile(r"(?P<path>.+?\.py):(?P<name>[A-Za-z_]\w*)(?::(?P<parameters>.*))?")
# A registered name, alone or with parameters: a file in these, such as by=./mine.py:Mine, is not the plug-in's own.
_NAMED = re.compile(r"[a-z0-9-]+(:[A-Za-z_]\w*=.*)?")
# A value begins with the spec or after a parameter's name. It ends with the colon of a class or a parameter, with a
# comma or with a semicolon. A path may hold an equals sign or a colon.
_VALUE = re.compile(
    r"(?P<start>^(?:[a-z0-9-]+:)?[\w-]+=|[:,;][A-Za-z_]\w*=|^)"
    r"(?P<value>[^,;]+?)(?=:[A-Za-z_]\w*(?:[:,;=]|$)|[,;]|$)"
)


class FileSpec(NamedTuple):
    """A class or object in a file, ``path/to/file.py:Name`` or ``path/to/file.py:Name:key=value,…``.

    Attributes:
        path: of the file, as it was written.
        name: of the class or object.
        parameters: what follows the second colon; empty if nothing does.
    """

    path: str
    name: str
    parameters: str


def file_spec(spec: str) -> FileSpec | None:
    """The parts of a spec that names a class in a file; None if it is a registered name.

    >>> file_spec("./mine.py:Mine:draws=2")
    FileSpec(path='./mine.py', name='Mine', parameters='draws=2')
    >>> file_spec("comprehensiveness:by=./mine.py:Mine")
    """
    match = _FILE.fullmatch(spec)
    if match is None or _NAMED.fullmatch(spec):
        return None
    return FileSpec(match["path"], match["name"], match["parameters"] or "")


def named_files(spec: str) -> list[Path]:
    """The existing files that a spec names, in their order.

    >>> named_files("comprehensiveness:by=no-such-file.py:Mine")
    []
    """
    found = []
    for match in _VALUE.finditer(spec):
        # what no file can be called is a value of another kind
        with contextlib.suppress(DataError):
            found.append(user_path(match["value"]))
    return [path for path in found if is_file(path)]


def code_files(spec: str) -> list[str]:
    """The Python files whose code runs when a plug-in is made of a spec, whether they exist or not.

    These are the file of its class and those of plug-ins that its parameters name.

    >>> code_files("comprehensiveness:by=./mine.py:Mine:draws=2"), code_files("csv:path=data.csv")
    (['./mine.py'], [])
    """
    file = file_spec(spec)
    parameters = file.parameters if file is not None else spec.partition(":")[2]
    named = [] if file is None else [file.path]
    values = (value for value in re.split("[,;=]", parameters) if ".py:" in value)
    return list(dict.fromkeys([*named, *(f"{value.rpartition('.py:')[0]}.py" for value in values)]))


def with_paths(spec: str, change: Callable[[str], str]) -> str:
    """The spec with every absolute path in it changed by a function.

    >>> with_paths("csv:path=/data/mine.csv,predict=label", lambda path: path.rpartition("/")[2])
    'csv:path=mine.csv,predict=label'
    """
    return _VALUE.sub(
        lambda match: (
            match["start"] + (change(match["value"]) if Path(match["value"]).is_absolute() else match["value"])
        ),
        spec,
    )
