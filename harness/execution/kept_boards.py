"""Boards of a run that are kept in the index of its store, and are made again only if something has changed.

A board follows from the cells, from what the run file says of the grid and of its provenance, and from the code. If all
of these are as they were, its text is too, and a large one is read in seconds instead of being computed in minutes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...fingerprints import fingerprint
from ..results.notices import shortened
from ..results.provenance import code_hash, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..results.cell_files import Stamp
    from ..results.store import Store

# The page also follows from samples, attributions and templates, and is made again.
KEPT = ("md", "csv", "json", "tex")


def board_texts(
    store: Store,
    content: Mapping[str, Any],
    endings: Sequence[str],
    make: Callable[[Sequence[str]], dict[str, str]],
    reference_state: str,
) -> dict[str, str]:
    """Texts of boards by ending: those that were kept, and others that are made now.

    Args:
        store: of the run.
        content: of its run file.
        endings: which boards.
        make: makes the texts of boards.
        reference_state: the state of the results from which reference rows are taken.
    """
    paths = [*content["cells"], *(content.get("beside") or {}).get("cells", {})]
    stamps = store.stamps(paths)
    _report_missing(store, stamps)
    origin = _origin(content, store.origin_of(stamps), reference_state)
    kept = {ending: store.kept_board(ending, origin) for ending in endings if ending in KEPT} if origin else {}
    texts = {ending: text for ending, text in kept.items() if text is not None}
    missing = [ending for ending in endings if ending not in texts]
    if not missing:
        return texts
    made = make(missing)
    # cells that have changed meanwhile would be those of a board of nothing
    if store.stamps(paths) != stamps:
        store.notices.append(
            "Cells have changed while the board was made, because a run is going on: each cell on it is of one moment, "
            "but not all are of the same one; 'xrnnbench leaderboard' writes it again when the run is done."
        )
    elif origin := _origin(content, store.origin_of(stamps), reference_state):
        for ending in filter(KEPT.__contains__, missing):
            store.keep_board(ending, origin, made[ending])
    return texts | made


def _report_missing(store: Store, stamps: Mapping[str, Stamp]) -> None:
    """Add a notice about cells that have no file."""
    missing = [path for path, stamp in stamps.items() if stamp.json_size < 0]
    if missing:
        names = shortened(missing)
        store.notices.append(f"{len(missing)} of {len(stamps)} cells are missing and left out: {names}.")


def _origin(content: Mapping[str, Any], cells: str, reference_state: str) -> str:
    """Fingerprint of everything that a board is made from; "" if that of the cells is not known."""
    if not cells:
        return ""
    named = {name: content.get(name) for name in ("suite", "grid", "provenance", "beside")}
    return fingerprint([cells, reference_state, named, list(content["cells"]), code_hash(), versions(), os.name])
