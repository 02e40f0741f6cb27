"""The summaries of the functions in a folder of Python source: read, not run.

Source: PEP 257 for what a docstring is, and that its first part is a summary.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Summary:
    """What a function says it does.

    Attributes:
        text: the first paragraph of its docstring, in one line.
        function: its name.
        file: where it stands, below the folder, with "/" between the parts.
    """

    text: str
    function: str
    file: str


def read(folder: Path) -> list[Summary]:
    """The summaries of all functions and methods that have one, tests left out, in the order of their files.

    Args:
        folder: of an installed package.

    Raises:
        DataError: there is no such folder, it has no summaries, or a file is no Python source.
    """
    files = [path.relative_to(folder) for path in folder.rglob("*.py")]
    chosen = sorted((path for path in files if "tests" not in path.parts), key=lambda path: path.parts)
    found = [summary for path in chosen for summary in _file(folder / path, path.as_posix())]
    if not found:
        raise DataError(f"{folder} holds no Python source with docstrings: install its package again.")
    return found


def _file(path: Path, name: str) -> list[Summary]:
    try:
        with warnings.catch_warnings():
            # a package's doubtful escapes are not our concern
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is no Python source ({error}): install its package again.") from error
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    summaries = (Summary(_summary(node), node.name, name) for node in functions)
    return [summary for summary in summaries if summary.text]


def _summary(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first paragraph of a docstring in one line; empty where there is none."""
    return " ".join((ast.get_docstring(function) or "").strip().split("\n\n")[0].split())
