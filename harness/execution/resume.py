"""Whether a run has anything to do, answered without loading torch or a plug-in.

A run that ends well keeps its plan (the suite, the hash of all code, the versions of what the code calls) and the state
of all its files. If the plan is the same and no file changed, there is nothing to do. Anything else goes the long way,
which looks into every cell; the plan only ever saves time.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError
from ...fingerprints import fingerprint
from ...tasks.models import published
from ..results.provenance import code_hash, versions
from ..results.store import Store
from .reference_rows import RunBeside, shown_beside, state_of

if TYPE_CHECKING:
    import os

    from ..suites.suite import Suite
    from .run import Run

_FILE = re.compile(r"(?P<path>.+\.py):.+")
# A parameter of this name is a file of the user's: csv:path=data.csv,predict=label.
_DATA = re.compile(r"[:,]path=(?P<path>[^,]+)")


def plan_of(suite: Suite, *, retrain: bool = False, beside: str = "") -> str:
    """Sha256 (64 hex digits) of everything that decides which cells a suite has and what is in them.

    Args:
        suite: what is run.
        retrain: whether models are trained anew.
        beside: the folder of the results from which rows of other methods are taken, or "".
    """
    specs = (*suite.tasks, *suite.methods, *suite.metrics, *suite.beside)
    paths = {match["path"] for match in map(_FILE.fullmatch, specs) if match is not None}
    paths |= {match["path"] for spec in specs for match in _DATA.finditer(spec)}
    files = {path: _file_hash(path) for path in paths}
    return fingerprint(
        {
            "suite": suite.model_dump(mode="json"),
            "code": code_hash(),
            "versions": versions(),
            "files": files,
            "models": "trained anew" if retrain else published.state(),
            "beside": [beside, state_of(beside)],
        }
    )


def finished(suite: Suite, out: str | os.PathLike[str], *, retrain: bool = False, beside: str = "") -> Run | None:
    """The finished run of this very suite with this very code, or None if there is something to do.

    A board that is gone, or has been overwritten by another suite's, is written again from the cells. Arguments as for
    :func:`plan_of`, and where results go.
    """
    store = Store(out, suite.name, suite.variant)
    try:
        content = store.read_run()
    except DataError:  # said by the run itself, which makes it anew
        return None
    if content is None or not content.get("complete"):
        return None
    if content.get("plan") != plan_of(suite, retrain=retrain, beside=beside):
        return None
    cells = content["cells"] | {path: state for path, state in shown_beside(content).items() if state}
    if any(store.state(path) != state for path, state in cells.items()):
        return None
    run = RunBeside(store, content, nothing_to_do=True)
    if store.boards_state() != content["boards"]:
        run.publish()
    return run


def _file_hash(path: str) -> str:
    file = Path(path).expanduser()
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
