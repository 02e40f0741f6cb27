"""Provenance of results: versions, machine, commit and command, and the hash of all code.

This module does not import torch, so that a run with nothing to do ends at once. Facts that only torch knows are read
from it if it is loaded already.
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
from ...error_lines import printable
from ...plugins import FLOORS, sources
from ...spec_files import with_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = __package__.partition(".")[0]
# Libraries whose versions a board prints.
_LIBRARIES = ("torch", "numpy", "captum", "lime", "scikit-learn", "scipy")
# All requirements in pyproject.toml but the peers, for code that runs from a source tree and has no metadata.
_REQUIRED = (
    "arch", "Babel", "captum", "cloudpickle", "cryptography", "distributed",
    "filelock", "jinja2", "joblib", "lazy-loader", "lime", "markupsafe", "matplotlib", "numpy",
    "pandas", "platformdirs", "pooch", "psutil", "pydantic", "requests", "rich", "sacrebleu", "safetensors",
    "scikit-learn", "scipy", "sktime", "statsmodels", "tokenizers", "torch", "typer", "vaderSentiment",
)  # fmt: skip
_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+")
# Extras that no result depends on: what is compared with in tests, and libraries whose models are read.
_PEER = re.compile(r"extra == ['\"](peers|forecasters)['\"]")


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """Provenance that boards print, as JSON values.

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
    """Time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_hash() -> str:
    """Sha256 (64 hex digits) over the name and content of every source file of the package."""
    digest = hashlib.sha256()
    for name, path in sorted(_source_files().items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@cache
def origin() -> str:
    """Short description of the running code, which every cell stores: commit, hash of the code, version of torch."""
    torch = importlib.metadata.version("torch") if _installed("torch") else "none"
    revision = commit()
    return ", ".join([*([f"commit {revision}"] if revision else []), f"code {code_hash()[:12]}", f"torch {torch}"])


def versions() -> dict[str, str]:
    """Versions that a plan depends on, besides the hash of the code: Python, the dependencies, installed plug-ins."""
    dependencies = {name: importlib.metadata.version(name) for name in required() if _installed(name)}
    return {"python": platform.python_version(), **dependencies, **sources()}


def required() -> tuple[str, ...]:
    """Names of the distributions that xrnnbench depends on, with those of its extras, but without the peers.

    Peers are libraries that xrnnbench is only compared with.
    """
    try:
        requirements = importlib.metadata.requires(_ROOT) or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return _REQUIRED
    without_peers = (requirement for requirement in requirements if not _PEER.search(requirement))
    distributions = {match[0] for match in map(_DISTRIBUTION.match, without_peers) if match is not None}
    return tuple(sorted(distributions - {_ROOT}, key=str.lower))


def commit() -> str:
    """Commit of the repository of this code, with ``+`` if tracked files were changed; empty if not known.

    A package that is installed from a wheel may lie inside an unrelated repository, so a repository counts only if it
    contains this file.
    """
    here = Path(__file__).resolve()
    top = _git(here.parent, "rev-parse", "--show-toplevel")
    if not top:
        return ""
    twin = Path(top).joinpath("harness", *here.parts[-2:])
    if not twin.is_file() or twin.read_bytes() != here.read_bytes():
        return ""
    revision = _git(here.parent, "rev-parse", "--short=12", "HEAD")
    changed = bool(_git(here.parent, "status", "--porcelain", "--untracked-files=no"))
    return f"{revision}+" if revision and changed else revision


def written_command(command: Sequence[str]) -> str:
    """Command line for publication: its paths are made relative, or cut to the file's name outside of the folder."""
    if not command:
        return "from Python"
    # a name of a file need not be text
    return printable(shlex.join([_ROOT, *(with_paths(word, _published) for word in command[1:])]))


def _published(path: str) -> str:
    """Path for publication: relative, or only the file's name if it lies outside of the folder."""
    relative = os.path.relpath(path)
    return Path(path).name if relative.startswith("..") else relative


def _threads() -> int:
    """Intra-op threads of torch; the number of cores if torch is not loaded."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def _source_files() -> dict[str, Path]:
    """Source files by their module names; in an editable install, sub-packages lie outside of the root's folder."""
    files: dict[str, Path] = {}
    for name in (_ROOT, *(f"{_ROOT}.{floor}" for floor in (*dict.fromkeys(FLOORS.values()), "harness"))):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in Path(folder).rglob("*.py"):
                files[".".join([name, *path.relative_to(folder).with_suffix("").parts])] = path
    return files


def _installed(distribution: str) -> bool:
    """Whether a distribution is installed."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _git(folder: Path, *arguments: str) -> str:
    """Output of a git command in a folder; empty if it fails."""
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
