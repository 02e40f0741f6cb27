"""Where numbers come from: versions, machine, commit and command, and the hash of all code that made them.

Nothing here imports torch, so that a run with nothing to do can answer at once; what only torch knows is read from it
if it is loaded already.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...plugins import FLOORS, sources

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = __package__.partition(".")[0]
# A parameter of this name is a file of the user's: csv:path=data.csv,predict=label.
_DATA = re.compile(r"(?<=[:,]path=)[^,]+")
# Those a board names.
_LIBRARIES = ("torch", "numpy", "captum", "lime", "scikit-learn", "scipy")
# All that pyproject.toml asks for, peers excepted, for code that runs from a source tree and has no metadata.
_REQUIRED = (
    "arch", "Babel", "captum", "filelock", "jinja2", "lime", "markupsafe", "matplotlib", "numpy", "pandas",
    "platformdirs", "pooch", "pydantic", "requests", "rich", "sacrebleu", "safetensors", "scikit-learn", "scipy",
    "sktime", "statsmodels", "tokenizers", "torch", "typer", "vaderSentiment",
)  # fmt: skip
_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+")
_PEER = re.compile(r"extra == ['\"]peers['\"]")


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """What a board says about its origin, ready for JSON.

    Args:
        command: the words of the command line, the program first; empty for a run from Python.
    """
    return {
        "xrnnbench": __version__,
        "commit": commit(),
        "code": code_hash()[:12],
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES if _installed(name)},
        "plug-ins": sources(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": "cpu",
        "threads": _threads(),
        "command": written_command(command),
        "date": now(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_hash() -> str:
    """Sha256 (64 hex digits) over the name and content of every source file of the package."""
    digest = hashlib.sha256()
    for name, path in sorted(_source_files().items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@cache
def origin() -> str:
    """In a few words, the code that is running: what every cell carries."""
    torch = importlib.metadata.version("torch") if _installed("torch") else "none"
    known = commit()
    return ", ".join([*([f"commit {known}"] if known else []), f"code {code_hash()[:12]}", f"torch {torch}"])


def versions() -> dict[str, str]:
    """The versions a plan depends on besides the code itself: Python, all that xrnnbench calls, installed plug-ins."""
    called = {name: importlib.metadata.version(name) for name in required() if _installed(name)}
    return {"python": platform.python_version(), **called, **sources()}


def required() -> tuple[str, ...]:
    """The names of the distributions xrnnbench depends on, extras included, but for the peers it is compared with."""
    try:
        asked = importlib.metadata.requires(_ROOT) or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return _REQUIRED
    called = (word for word in asked if not _PEER.search(word))
    found = {match[0] for match in map(_DISTRIBUTION.match, called) if match is not None}
    return tuple(sorted(found - {_ROOT}, key=str.lower))


def commit() -> str:
    """The commit of the repository this code comes from, with ``+`` if the tree was changed; empty if not known.

    A package installed from a wheel may lie inside somebody else's repository: a repository counts only if it holds
    this very file.
    """
    here = Path(__file__).resolve()
    top = _git(here.parent, "rev-parse", "--show-toplevel")
    if not top:
        return ""
    twin = Path(top).joinpath("harness", *here.parts[-2:])
    if not twin.is_file() or twin.read_bytes() != here.read_bytes():
        return ""
    found = _git(here.parent, "rev-parse", "--short=12", "HEAD")
    changed = bool(_git(here.parent, "status", "--porcelain", "--untracked-files=no"))
    return f"{found}+" if found and changed else found


def written_command(command: Sequence[str]) -> str:
    """A command line as it can be published: paths relative, or cut to the file's name outside of the folder."""
    if not command:
        return "from Python"
    return shlex.join([_ROOT, *map(_without_machine, command[1:])])


def _without_machine(word: str) -> str:
    word = _DATA.sub(lambda found: _published(found[0]), word)
    path, colon, rest = word.partition(".py:")
    return f"{_published(path)}{colon}{rest}"


def _published(path: str) -> str:
    if not Path(path).is_absolute():
        return path
    relative = os.path.relpath(path)
    return Path(path).name if relative.startswith("..") else relative


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def _source_files() -> dict[str, Path]:
    """Every source file by its place in the package; an editable install keeps the floors elsewhere than the root."""
    found: dict[str, Path] = {}
    for name in (_ROOT, *(f"{_ROOT}.{floor}" for floor in (*dict.fromkeys(FLOORS.values()), "harness"))):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in Path(folder).rglob("*.py"):
                found[".".join([name, *path.relative_to(folder).with_suffix("").parts])] = path
    return found


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # fixed words
            ["git", "-C", str(folder), *arguments],  # noqa: S607  # whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
