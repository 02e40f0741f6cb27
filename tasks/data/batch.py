"""What a task hands out: sequences, their truth, and a model that was trained on them and may be questioned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ...errors import DataError

Outputs = Literal["logits", "probabilities", "values"]
Granularity = Literal["step", "cell"]
Semantics = Literal["coefficient", "shapley", "planted", "human-rating", "rationale", "alignment"]


@dataclass(frozen=True)
class Truth:
    """What really made the output, for each step or each cell of the sequences.

    Attributes:
        values: float[B, T] or float[B, T, D]; 0 on padding. Binary truths are 0 or 1, signed ones contributions.
        semantics: what the numbers are: ``"coefficient"`` (derivative × input of the generating rule),
            ``"shapley"``, ``"planted"`` (where the generator put the cause), ``"human-rating"`` (of each token),
            ``"rationale"`` (what people marked as their reason), or ``"alignment"``: the source steps that one output
            step is linked with, 1 for a sure link, .5 for a possible one, else 0.
        output: in words, which output of the model it explains.
        signed: whether the sign carries meaning; if not, values are relevance, 0 or positive.
        toward: of a signed truth about one of two classes, the class that positive values speak for; None if the
            values are about the explained output, whichever it is. See :meth:`turned`.
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
        links = self.values.new_tensor([0.0, 0.5, 1.0])
        if self.semantics == "alignment" and not torch.isin(self.values, links).all():
            raise DataError("An alignment is 1 where a link is sure, .5 where it is possible, and 0 elsewhere.")

    @property
    def relevant(self) -> Tensor:
        """bool, the shape of values: whether the feature has any part in the output."""
        return self.values != 0

    def turned(self, target: Tensor) -> Tensor:
        """The values as they speak for the explained outputs, which is what attributions do.

        A truth is the same for all models, while the explained class of a sequence is what a model predicts; with two
        classes, what speaks for one speaks against the other.

        Args:
            target: int64[B], the explained outputs.

        Returns:
            float, the shape of values; the sign is turned for each sequence whose target is not ``toward``.
        """
        if self.toward is None:
            return self.values
        sign = torch.where(target == self.toward, 1.0, -1.0).to(self.values.dtype)
        return self.values * sign.view(-1, *[1] * (self.values.dim() - 1))


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences.

    Attributes:
        inputs: int64[B, T] tokens or float[B, T, D] features.
        lengths: int64[B], each from 1 to T.
        targets: int64[B] classes, float[B, K] values, or int64[B, U] target tokens.
        truths: the readings of the truth by name, the main one first; empty where the truth is not known.
        context: what else the model is given, by the name of forward's parameter: any tensors of B rows. It belongs to
            the sequence and is held as it is while the sequence is explained.

    Raises:
        DataError: shapes that do not fit, a sequence of length 0, or a value that is not finite.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    truths: Mapping[str, Truth] = field(default_factory=dict)
    context: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_inputs(self.inputs)
        _check_lengths(self.lengths, self.inputs)
        if len(self.targets) != len(self.inputs):
            raise DataError(f"There are {len(self.inputs)} sequences and {len(self.targets)} targets.")
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
            if truth.values[~self.valid].any():
                raise DataError(f"The truth {name!r} is not 0 on padding: set it to 0 beyond each sequence's length.")

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.inputs.shape)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def tokens(self) -> bool:
        """Whether the inputs are tokens, not numbers."""
        return not self.inputs.is_floating_point()

    @property
    def truth(self) -> Truth | None:
        """The main reading of the truth."""
        return next(iter(self.truths.values()), None)

    @cached_property
    def valid(self) -> Tensor:
        """bool[B, T]: True on the sequence, False on padding."""
        return torch.arange(self.inputs.shape[1], device=self.lengths.device) < self.lengths[:, None]

    def without_context(self) -> Batch:
        """The sequences alone."""
        return dataclasses.replace(self, context={})

    def select(self, rows: Tensor | slice) -> Batch:
        """The sequences of some rows, cut to the longest of them."""
        steps = int(self.lengths[rows].max())
        truths = {
            name: dataclasses.replace(truth, values=truth.values[rows][:, :steps])
            for name, truth in self.truths.items()
        }
        context = {name: value[rows] for name, value in self.context.items()}
        return Batch(self.inputs[rows][:, :steps], self.lengths[rows], self.targets[rows], truths, context)


@dataclass(frozen=True)
class Competence:
    """How good a model is at its task, and how good it must be for its explanations to mean anything.

    Attributes:
        measure: name of the held-out score, higher is better: ``"accuracy"``, ``"AUROC"``, ``"R2"``.
        score: the model's held-out score.
        gate: the least score at which a model is explained rather than shown as unfit.
        baseline: what no learning reaches (majority class, persistence, mean).
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
    """What to call things in pictures and tables; empty where there is no better name than the number.

    Attributes:
        features: names of the D input features.
        outputs: names of the K outputs (classes or predicted quantities).
        vocabulary: names of the tokens, by id.
    """

    features: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()


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
        raise DataError(
            f"Sequence {row} has length {int(lengths[row])}; lengths go from 1 to {inputs.shape[1]}: drop empty ones."
        )
