"""Resuming a run: a quick check whether it is complete already; what is missing is found by :mod:`.missing_work`.

The check loads neither torch nor a plug-in. A run that ends well stores its plan and the state of all its files. The
plan is a fingerprint of the suite, of all code, of the versions of the libraries, and of every file that a spec names
(``./mine.py`` in ``./mine.py:Mine``, with the neighbours that it imports). If the plan is the same and no file changed,
there is nothing to do. Otherwise every cell is checked (:mod:`.missing_work`); the plan only saves time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError
from ...fingerprints import fingerprint
from ...source_files import content_hash
from ...spec_files import named_files
from ...tasks.models import published
from ..results.provenance import code_hash, versions
from ..results.store import Store
from .reference_rows import RunWithReferences, reference_cells, state_of

if TYPE_CHECKING:
    import os

    from ..suites.suite import Suite
    from .run import Run


def plan_of(suite: Suite, *, retrain: bool = False, reference: str = "") -> str:
    """Sha256 (64 hex digits) of everything that decides which cells a suite has and what is in them.

    Args:
        suite: what is run.
        retrain: whether models are trained anew.
        reference: the archive or run from which reference rows are taken, or "".
    """
    specs = (*suite.tasks, *suite.methods, *suite.metrics, *suite.skipped)
    files = {str(path): content_hash(path) for spec in specs for path in named_files(spec)}
    return fingerprint(
        {
            "suite": suite.model_dump(mode="json"),
            "code": code_hash(),
            "versions": versions(),
            "files": files,
            "models": "trained anew" if retrain else published.manifest_hash(),
            "beside": [reference, state_of(reference)],
        }
    )


def finished(
    suite: Suite,
    out: str | os.PathLike[str],
    *,
    retrain: bool = False,
    reference: str = "",
    examples: bool | None = None,
) -> Run | None:
    """Load the finished run of a suite with this version of the code; None if there is something to do.

    A board that is missing, or was overwritten by that of another suite, is written again from the cells.

    Args:
        suite: the suite.
        out: the output folder.
        retrain: whether models are trained anew.
        reference: the archive or run from which reference rows are taken, or "".
        examples: whether boards show sequences of the data; None if that is as it was.
    """
    store = Store(out, suite.name, suite.variant)
    try:
        content = store.read_run()
    except DataError:  # reported by the run itself, which writes the file again
        return None
    if content is None or not content.get("complete"):
        return None
    if content.get("plan") != plan_of(suite, retrain=retrain, reference=reference):
        return None
    if examples is not None and examples != content.get("examples", True):
        return None
    cells = content["cells"] | {path: state for path, state in reference_cells(content).items() if state}
    if store.states(cells) != cells:
        return None
    run = RunWithReferences(store, content, nothing_to_do=True)
    if store.boards_state() != content["boards"]:
        run.publish()
    return run
