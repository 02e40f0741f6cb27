"""Reader of the docstring summaries in a folder of Python source; the source is parsed, not run.

Source: PEP 257, which defines docstrings and their summary lines.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import DataError
from ...outside_files import read_bytes
from .written import is_text, reason

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Summary:
    """Docstring summary of a function.

    Attributes:
        text: first paragraph of the docstring, in one line.
        function: name of the function.
        file: path of its file relative to the folder, with "/" between the parts.
    """

    text: str
    function: str
    file: str


def read(folder: Path) -> list[Summary]:
    """Read the summaries of all functions and methods that have one, in the order of their files; tests are left out.

    Args:
        folder: folder of an installed package.

    Raises:
        DataError: the folder does not exist or has no summaries, or a file is not valid Python source.
    """
    all_paths = [path.relative_to(folder) for path in folder.rglob("*.py")]
    paths = sorted((path for path in all_paths if "tests" not in path.parts), key=lambda path: path.parts)
    summaries = [summary for path in paths for summary in _file(folder / path, path.as_posix())]
    if not summaries:
        raise DataError(f"{folder} holds no Python source with docstrings: install its package again.")
    return summaries


def _file(path: Path, name: str) -> list[Summary]:
    """Summaries of the functions in one file."""
    try:
        with warnings.catch_warnings():
            # invalid escape sequences in a package do not matter here
            warnings.simplefilter("ignore")
            tree = ast.parse(read_bytes(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # the message of a syntax error may hold the line, however long it is
        raise DataError(f"{path} is no Python source ({reason(error)}): install its package again.") from error
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    summaries = (Summary(_summary(node), node.name, name) for node in functions)
    found = [summary for summary in summaries if summary.text]
    for summary in found:
        if not is_text(summary.text):
            raise DataError(f"{path}: the docstring of {summary.function} holds no text that UTF-8 can write.")
    return found


def _summary(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """First paragraph of a function's docstring in one line; empty without a docstring."""
    return " ".join((ast.get_docstring(function) or "").strip().split("\n\n")[0].split())
