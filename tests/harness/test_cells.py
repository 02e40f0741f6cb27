"""What a cell says of itself once it was copied with other records or another competence."""

import numpy as np

from xrnnbench.harness.results.cells import Key

from .page_boards import axes, made_cell


def made():
    grid = axes(("random",), ("one",), ("normalised-deletion", "passes"))
    key = Key(grid.tasks[0], grid.methods[0], 0, 0)
    return grid, made_cell(key, 0, grid.metrics, np.random.default_rng(0), size=4, quality=0.5).cell


def test_a_copy_answers_by_its_own_fields():
    """What was worked out from a cell's records, and kept, is not that of a copy with other records."""
    grid, cell = made()
    metric, other = grid.metrics
    old = cell.record(metric)
    assert cell.fit
    changed = cell.model_copy(
        update={
            "records": (old.model_copy(update={"row": 7}),),
            "competence": cell.competence.model_copy(update={"score": 0.1}),
        }
    )
    assert changed.record(metric).row == 7
    assert changed.record(other) is None
    assert not changed.fit
    assert (cell.fit, cell.record(metric)) == (True, old), "the copied one stays as it is"


def test_a_copy_without_changes_is_equal():
    grid, cell = made()
    cell.record(grid.metrics[0])
    assert cell.model_copy() == cell
    assert cell.model_copy().model_dump() == cell.model_dump()
