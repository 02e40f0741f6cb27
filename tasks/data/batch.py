"""Data of a task: batches of sequences, their truths, the names of features and outputs, and a model's competence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ...errors import DataError
from .input_layout import InputLayout

Outputs = Literal["logits", "probabilities", "values", "binary-logit", "binary-probability"]
Granularity = Literal["step", "cell"]
Semantics = Literal["coefficient", "shapley", "planted", "human-rating", "rationale", "alignment"]


@dataclass(frozen=True)
class Truth:
    """Ground truth of an explanation: the true relevance of each step or cell of the sequences.

    Attributes:
        values: float[B, T] or float[B, T, D]; 0 on padding. Binary truths are 0 or 1, signed ones contributions. For
            several inputs, :func:`xrnnbench.task_from_model` also takes a mapping from their names to values.
        semantics: the meaning of the values: ``"coefficient"`` (derivative × input of the generating rule),
            ``"shapley"``, ``"planted"`` (where the generator put the cause), ``"human-rating"`` (of each token),
            ``"rationale"`` (the tokens that people marked as their reason), or ``"alignment"``: the source steps that
            one output step is linked with, 1 for a sure link, .5 for a possible one, else 0.
        output: the output of the model that the truth explains, in words.
        signed: whether the sign carries meaning; if not, values are relevance, 0 or positive.
        toward: of a signed truth about one of two classes, the class that positive values support; None if the values
            are about the explained output, whichever it is. See :meth:`turned`.
        retrospective: whether it explains one output by the whole sequence (True) or every step's own output.

    Raises:
        DataError: an alignment holds another number than 0, .5 and 1.
    """

    values: Tensor
    semantics: Semantics
    output: str
    signed: bool = False
    retrospective: bool = True
    toward: int | None = None

    def __post_init__(self) -> None:
        if self.semantics != "alignment":
            return
        if not torch.isin(self.values, self.values.new_tensor([0.0, 0.5, 1.0])).all():
            raise DataError("An alignment is 1 where a link is sure, .5 where it is possible, and 0 elsewhere.")

    @property
    def relevant(self) -> Tensor:
        """Mask of the relevant features: bool, of the shape of values, True where a value is not 0."""
        return self.values != 0

    def turned(self, target: Tensor) -> Tensor:
        """Values with the sign of their contribution to the explained outputs, as attributions have it.

        A truth is the same for all models, but the explained class of a sequence is the one a model predicts. With two
        classes, a contribution to one counts against the other.

        Args:
            target: int64[B], the explained outputs.

        Returns:
            float, of the shape of values; the sign is flipped for each sequence whose target is not ``toward``.
        """
        if self.toward is None:
            return self.values
        sign = torch.where(target == self.toward, 1.0, -1.0).to(self.values.dtype)
        return self.values * sign.view(-1, *[1] * (self.values.dim() - 1))


@dataclass(frozen=True)
class Batch:
    """Batch of right-padded sequences with targets and truths.

    Attributes:
        inputs: int64[B, T] tokens or float[B, T, D] features.
        lengths: int64[B], each from 1 to T.
        targets: int64[B] classes, float[B, K] values, or int64[B, U] target tokens.
        truths: ground truths by name, the main one first; empty where none is known.
        context: further inputs of the model, by the name of forward's parameter: any tensors of B rows. They belong to
            the sequence and are kept constant while the sequence is explained.
        ids: identifiers of the B sequences, all different, by which other runs recognise them; empty if there are none.
        mask: bool[B, T, D], the cells of the inputs that belong to the sequences; None if these are all cells up to
            each length.
        layout: where each of several inputs is in ``inputs``; None if there is one input.

    Raises:
        DataError: shapes that do not fit, a sequence of length 0, a value that is not finite, or an id that is there
            twice.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    truths: Mapping[str, Truth] = field(default_factory=dict)
    context: Mapping[str, Tensor] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    mask: Tensor | None = None
    layout: InputLayout | None = None

    def __post_init__(self) -> None:
        _check_inputs(self.inputs)
        _check_lengths(self.lengths, self.inputs)
        if len(self.targets) != len(self.inputs):
            raise DataError(f"There are {len(self.inputs)} sequences and {len(self.targets)} targets.")
        _check_ids(self.ids, len(self.inputs))
        if self.mask is not None and (self.mask.dtype != torch.bool or self.mask.shape != self.inputs.shape):
            raise DataError(f"The mask is {self.mask.dtype}{list(self.mask.shape)}, not bool{list(self.inputs.shape)}.")
        for name, value in self.context.items():
            if value.dim() == 0 or len(value) != len(self.inputs):
                raise DataError(
                    f"The context {name!r} has shape {tuple(value.shape)} for {len(self.inputs)} sequences: give it "
                    "one row for each."
                )
        for name, truth in self.truths.items():
            if truth.values.shape not in {self.inputs.shape, self.inputs.shape[:2]}:
                raise DataError(f"The truth {name!r} has shape {tuple(truth.values.shape)}, not {self._shape}.")
            if not torch.isfinite(truth.values).all():
                raise DataError(f"The truth {name!r} holds a value that is not finite.")
            if truth.values[~(self.valid if truth.values.dim() == 2 else self.cells)].any():  # [B, T]
                raise DataError(f"The truth {name!r} is not 0 on padding: set it to 0 beyond each sequence's length.")

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.inputs.shape)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def tokens(self) -> bool:
        """Whether the inputs are tokens, not real-valued features."""
        return not self.inputs.is_floating_point()

    @property
    def truth(self) -> Truth | None:
        """The main truth; None if there is none."""
        return next(iter(self.truths.values()), None)

    @cached_property
    def valid(self) -> Tensor:
        """Mask bool[B, T]: True on the sequence, False on padding."""
        if self.mask is not None:
            return self.mask.any(2)
        return torch.arange(self.inputs.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @cached_property
    def cells(self) -> Tensor:
        """Mask bool[B, T, D] of real-valued inputs: True on the cells of the sequence."""
        return self.valid[:, :, None].expand(self.inputs.shape) if self.mask is None else self.mask

    def nearest_steps(self, rows: Tensor, steps: Tensor) -> Tensor:
        """Steps int64[N, S] of some sequences, from those that are asked for; the last step where one is too short.

        Of several inputs, it is the last step of the same input.

        Args:
            rows: int64[N].
            steps: int64[S] or int64[N, S].
        """
        if self.layout is None:
            return torch.minimum(steps, self.lengths[rows, None] - 1)
        nearest = steps.expand(len(rows), steps.shape[-1]).clone()
        for part in self.layout:
            last = part.first + self.valid[rows, part.span].sum(1).clamp_min(1)[:, None] - 1
            inside = (nearest >= part.first) & (nearest < part.first + part.steps)
            nearest = torch.where(inside, torch.minimum(nearest, last), nearest)
        return nearest

    def without_context(self) -> Batch:
        """The batch without its context."""
        return dataclasses.replace(self, context={})

    def select(self, rows: Tensor | slice) -> Batch:
        """Batch of some rows, cut to the longest of them."""
        steps = int(self.lengths[rows].max())
        truths = {
            name: dataclasses.replace(truth, values=truth.values[rows][:, :steps])
            for name, truth in self.truths.items()
        }
        context = {name: value[rows] for name, value in self.context.items()}
        ids = tuple(self.ids[row] for row in torch.arange(len(self))[rows].tolist()) if self.ids else ()
        ids = ids if len(set(ids)) == len(ids) else ()  # repeated sequences are no longer told apart
        mask = None if self.mask is None else self.mask[rows][:, :steps]
        return Batch(
            self.inputs[rows][:, :steps],
            self.lengths[rows],
            self.targets[rows],
            truths,
            context,
            ids,
            mask,
            self.layout,
        )


@dataclass(frozen=True)
class Competence:
    """Held-out score of a model, with the least score at which its explanations are meaningful.

    Attributes:
        measure: name of the held-out score, higher is better: ``"accuracy"``, ``"AUROC"``, ``"R2"``.
        score: the model's held-out score.
        gate: the least score at which a model is explained; below it the model is shown as unfit.
        baseline: the score of a trivial predictor (majority class, persistence, mean).
    """

    measure: str
    score: float
    gate: float
    baseline: float

    @property
    def fit(self) -> bool:
        """Whether the model passes the gate."""
        return self.score >= self.gate


@dataclass(frozen=True)
class Names:
    """Names of features, outputs and tokens in figures and tables; empty where numbers serve.

    Attributes:
        features: names of the D input features. For several inputs, :func:`xrnnbench.task_from_model` takes a mapping
            from their names to the names of their features.
        outputs: names of the K outputs (classes or predicted quantities).
        vocabulary: names of the tokens, by id.
    """

    features: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()


def _check_ids(ids: tuple[str, ...], count: int) -> None:
    if ids and len(ids) != count:
        raise DataError(f"There are {count} sequences and {len(ids)} ids: give one for each.")
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise DataError(f"Two sequences have the id {twice!r}: give each its own.")


def _check_inputs(inputs: Tensor) -> None:
    expected = "int64[B, T] tokens or float[B, T, D] features"
    if inputs.is_floating_point():
        if inputs.dim() != 3:
            raise DataError(f"Inputs of {inputs.dtype} have shape {tuple(inputs.shape)}; expected {expected}.")
        if not torch.isfinite(inputs).all():
            row = int((~torch.isfinite(inputs)).flatten(1).any(1).nonzero()[0])
            raise DataError(f"Sequence {row} holds a value that is not finite: impute or drop it.")
    elif inputs.dtype != torch.int64 or inputs.dim() != 2:
        raise DataError(f"Inputs of {inputs.dtype} have shape {tuple(inputs.shape)}; expected {expected}.")
    if len(inputs) == 0 or inputs.shape[1] == 0:
        raise DataError(f"There are no sequences: inputs have shape {tuple(inputs.shape)}.")


def _check_lengths(lengths: Tensor, inputs: Tensor) -> None:
    if lengths.dtype != torch.int64 or lengths.shape != inputs.shape[:1]:
        raise DataError(
            f"Lengths are {lengths.dtype}{list(lengths.shape)}; expected int64[{len(inputs)}], one for each sequence."
        )
    wrong = ((lengths < 1) | (lengths > inputs.shape[1])).nonzero()
    if len(wrong):
        row = int(wrong[0])
        way = "drop empty ones" if int(lengths[row]) < 1 else "pad the inputs to the longest sequence"
        if inputs.dim() == 3 and int(lengths.min()) > 0 and int(lengths.max()) <= inputs.shape[2]:
            way = "the inputs are [B, T, D], so swap their last two axes"
        raise DataError(
            f"Sequence {row} has length {int(lengths[row])}; lengths go from 1 to {inputs.shape[1]}: {way}."
        )
