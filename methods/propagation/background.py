"""Background sequences as references, for the methods that average over a background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject


def background_references(view: Subject, background: Batch, rows: Tensor, donor: Tensor) -> Tensor:
    """Return background sequences in the shape of the sequences whose references they are.

    Args:
        view: subject of real-valued inputs.
        background: background sequences of the view, float[N, T', D].
        rows: int64[V], sequences of the view.
        donor: int64[V], index of the background sequence that is the reference of each.

    Returns:
        float[V, T, D]. A background sequence that is too short repeats its last step. Padding holds the values of the
        sequence itself, so that its difference to the reference is 0.
    """
    inputs = view.batch.inputs[rows]
    step = background.nearest_steps(donor, torch.arange(inputs.shape[1]))
    return torch.where(view.batch.cells[rows], background.inputs[donor[:, None], step], inputs)
