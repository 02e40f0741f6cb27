"""Contract of a subject: the promises that a model must keep for its explanations to be true, each measured.

Every method and metric relies on one fact: a score is a function of one sequence and its own context. A model may break
it in ways that nobody sees in its outputs: it reads its padding, draws random numbers, keeps state between calls, or
lets the sequences of a batch influence each other. :func:`check_contract` runs a few sequences of a subject in several
ways and compares their scores. The runs are not counted as cost of any method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from ..errors import DataError, XrnnbenchError
from .engine.adapters import PredictFunction
from .engine.agreement import allowed_differences, spread_of
from .engine.batching import few_sequences
from .engine.kept_state import ModuleState
from .engine.signature import PADDING

if TYPE_CHECKING:
    from .subject import Subject

Name = Literal["deterministic", "rows apart", "any order", "padding ignored", "no state kept", "attention sums to 1"]
Handling = Literal["refuse", "explain"]

# Differences from 1 of the sum of attention weights that count as rounding.
WEIGHTS_OFF: Final = 1e-3

_PROMISES: Final[dict[Name, str]] = {
    "deterministic": "two equal calls give equal scores",
    "rows apart": "a sequence's score does not depend on the others of its batch",
    "any order": "a sequence's score does not depend on its place in the batch",
    "padding ignored": "a sequence's score does not depend on its padding",
    "no state kept": "a call does not change the answer of the next one",
    "attention sums to 1": "the attention weights sum to 1 over a sequence's own steps",
}


@dataclass(frozen=True)
class Promise:
    """One promise of a model, as measured.

    Attributes:
        name: short name of the promise.
        kept: whether it is kept; None if it could not be broken, for example that about padding where there is none.
        difference: largest difference of a score that was found, in the score's unit.
        sequence: the sequence of the batch with that difference; None if there is none.
        detail: a sentence about what was found; empty if the promise is kept and there is nothing to add.
        way_out: what to change in the model.
        option: what the user may say instead, as an argument of :func:`xrnnbench.explain`.
    """

    name: Name
    kept: bool | None
    difference: float = 0.0
    sequence: int | None = None
    detail: str = ""
    way_out: str = ""
    option: str = ""

    @property
    def meaning(self) -> str:
        """The promise in words."""
        return _PROMISES[self.name]

    @property
    def sentence(self) -> str:
        """The finding and the ways out in one sentence."""
        ways = ", or ".join(filter(None, [self.way_out, self.option]))
        if not ways:
            return f"{self.detail}."
        return f"{self.detail} {ways}." if self.detail.endswith(", or") else f"{self.detail}: {ways}."


@dataclass(frozen=True)
class Contract:
    """Measured promises of a subject.

    Attributes:
        promises: all promises.
        spread: range of the scores that were seen, of the output in which it is largest.
        allowed: the largest difference of a score of that output that counts as rounding.
        rows: forward passes of the check, one for each sequence of each run.
        sequences: number of different sequences that were run.
    """

    promises: tuple[Promise, ...]
    spread: float
    allowed: float
    rows: int
    sequences: int

    @property
    def broken(self) -> tuple[Promise, ...]:
        """The promises that are broken, the one about attention left out, which concerns the attention methods only."""
        return tuple(p for p in self.promises if p.kept is False and p.name != "attention sums to 1")

    @property
    def kept(self) -> bool:
        """Whether no promise is broken."""
        return not self.broken

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences for readers of the explanations: every promise that is broken, that about attention too."""
        return tuple(promise.sentence for promise in self.promises if promise.kept is False)

    def refuse_broken(self, *, task: bool = False) -> None:
        """Refuse a subject whose model breaks a promise.

        Args:
            task: whether the subject is that of a task's class, whose author gives no options.

        Raises:
            DataError: the first broken promise, by how much, on which sequence, and the way out.
        """
        if not self.broken:
            return
        first = self.broken[0]
        if task:
            raise DataError(
                f"{replace(first, option='').sentence[:-1]}; or set contract = 'explain' in the task's class to "
                "explain it all the same, which the board will show."
            )
        raise DataError(
            f"{first.sentence[:-1]}; or say contract='explain' to explain it all the same, which results will show."
        )


def check_contract(subject: Subject, tolerance: float | None = None) -> Contract:
    """Run at most eight sequences of a subject in several ways, and compare their scores.

    They are run together twice, each alone and cut to its own length, in another order, and with other numbers in the
    padding. Attributes and buffers of the model are compared before and after. The runs are not counted.

    Args:
        subject: the subject; its model has been run once.
        tolerance: accepted difference of a score, as a share of the spread of the scores; by default 1e-4, and 1e-6 for
            a module in double precision.

    Raises:
        DataError: the model fails in one of the ways.
    """
    before = subject.cost.copy()
    try:
        with subject.isolated(), torch.no_grad():
            return _Check(subject, tolerance).run()
    finally:
        subject.cost.restore(before)


@dataclass(frozen=True)
class _Fault:
    """Words about a broken promise: what was found, with the scores and the sequence, and the ways out."""

    words: str
    way_out: str
    option: str = ""


class _Check:
    """The runs of a few sequences, and their comparison."""

    def __init__(self, subject: Subject, tolerance: float | None) -> None:
        self.subject = subject
        self.few = few_sequences(subject.batch.lengths)
        self.lengths = subject.batch.lengths[self.few]
        # together they are run at the given width, as the user's own calls run them
        width = subject.batch.inputs.shape[1] if subject.takes_lengths else int(self.lengths.max())
        self.inputs = subject.batch.inputs[self.few, :width]
        self.tolerance = tolerance
        self.before = subject.cost.copy()
        self.rows_of_attention = 0
        self.spread = self.allowed = torch.zeros(0, dtype=torch.float64)

    def run(self) -> Contract:
        """All promises."""
        state = ModuleState(self.subject.model)
        together = self._run(self.inputs)
        again = self._run(self.inputs)
        # compared before the scale is measured, since that runs the model again
        changed = state.changed()
        self._measure_scale(together)
        promises = [self._deterministic(together, again)]
        if promises[0].kept:
            promises += [*self._alone(together), self._other_order(together), self._other_padding(together)]
        else:
            promises += [Promise(name, None) for name in ("rows apart", "any order", "padding ignored")]
        promises = [*_merged(promises), self._state(changed, promises[0].kept is False), *self._attention()]
        widest = int(self.spread.argmax())
        rows = self.subject.cost.since(self.before).forward + self.rows_of_attention
        return Contract(tuple(promises), float(self.spread[widest]), float(self.allowed[widest]), rows, len(self.few))

    # ---- promises -------------------------------------------------------------------------------------------------

    def _deterministic(self, together: Tensor, again: Tensor) -> Promise:
        return self._compared("deterministic", together, again, _RANDOM)

    def _alone(self, together: Tensor) -> list[Promise]:
        """Promises about batch mates and padding, from each sequence alone and cut to its own length.

        A single sequence is given another one as company, because methods run its variants together.
        """
        if len(self.few) == 1:
            company = self._compared("rows apart", together, self._in_company(last=False), _MATES)
            if company.kept is False:
                return [company]
        scores = torch.cat([self._run(self.inputs[[row]], row=row, cut=True) for row in range(len(self.few))])
        alone = self._compared("rows apart", together, scores, _MATES)
        if alone.kept is not False:
            kept = replace(alone, name="padding ignored") if self._padded else Promise("padding ignored", None)
            return [alone, kept]
        if not self._padded:
            return [alone]
        # the same width as together: what differs now are the other rows of the batch
        width = torch.cat([self._run(self.inputs[[row]], row=row) for row in range(len(self.few))])
        same_width = self._compared("rows apart", together, width, _MATES)
        if same_width.kept is False:
            return [same_width]
        return [same_width, self._compared("padding ignored", together, scores, _PADDING_READ)]

    def _in_company(self, *, last: bool) -> Tensor:
        """Scores float64[1, K] of the only sequence, run as the first or the last of a batch of two."""
        other = self.subject.reference[self.few, : self.inputs.shape[1]]
        if torch.equal(other, self.inputs):
            # of several inputs, steps cannot trade places
            other = self.inputs.flip(1) if self.subject.batch.layout is None else self.inputs
        pair = [other, self.inputs] if last else [self.inputs, other]
        steps = None if self.subject.takes_lengths else int(self.lengths[0])
        rows = torch.cat(pair)[:, :steps]
        scores = self._forward(rows, self.lengths.expand(2), self.few.expand(2))
        return scores[1:] if last else scores[:1]

    def _other_order(self, together: Tensor) -> Promise:
        if len(self.few) == 1:
            return self._compared("any order", together, self._in_company(last=True), _ORDER)
        order = torch.arange(len(self.few)).roll(1)
        scores = self._run(self.inputs[order], order)
        return self._compared("any order", together[order], scores, _ORDER, order=order)

    def _other_padding(self, together: Tensor) -> Promise:
        """The promise about padding, from other numbers in it; tokens stay among those of the sequences."""
        if not self._padded:
            return Promise("padding ignored", None)
        rng = torch.Generator().manual_seed(0)
        valid = torch.arange(self.inputs.shape[1]) < self.lengths[:, None]
        own = self.inputs[valid]
        drawn = own[torch.randint(len(own), (valid.numel(),), generator=rng)].view(self.inputs.shape)
        other = torch.where(valid if self.inputs.dim() == 2 else valid[..., None], self.inputs, drawn)
        return self._compared("padding ignored", together, self._run(other), _PADDING_READ)

    def _state(self, changed: list[str], random: bool) -> Promise:  # noqa: FBT001  # whether two calls differ
        adapter = self.subject.adapter
        restored = adapter is not None and bool(adapter.kept)
        if not changed:
            detail = "the state that the model keeps is restored after each call" if restored else ""
            return Promise("no state kept", kept=True, detail=detail)
        names = ", ".join(changed[:3])
        return Promise(
            "no state kept",
            kept=not random,
            detail=f"{self.subject.label} changes {names} in each call",
            way_out="give it a fresh state in each forward",
        )

    def _attention(self) -> list[Promise]:
        """The promise about attention weights, if the model returns them."""
        if not self.subject.attentive:
            return []
        try:
            chosen = self.subject.select(self.few.sort().values)
            weights = chosen.attention()
            self.rows_of_attention = chosen.cost.forward
        except XrnnbenchError as error:
            return [Promise("attention sums to 1", kept=False, detail=str(error).rstrip("."))]
        gap = (weights.sum(1) - 1).abs()
        worst = int(gap.argmax())
        sequence = int(self.few.sort().values[worst])
        negative = bool((weights < 0).any())
        if float(gap[worst]) <= WEIGHTS_OFF and not negative:
            return [Promise("attention sums to 1", kept=True, difference=float(gap[worst]), sequence=sequence)]
        fault = "holds a negative weight" if negative else f"sums to {float(weights[worst].sum()):.3g}"
        return [
            Promise(
                "attention sums to 1",
                kept=False,
                difference=float(gap[worst]),
                sequence=sequence,
                detail=f"the attention that {self.subject.label} returns {fault} over the steps of sequence {sequence}",
                way_out="read the attention methods as scores of steps, not as weights",
            )
        ]

    # ---- runs and comparisons ---------------------------------------------------------------------------------------

    @property
    def _padded(self) -> bool:
        """Whether the sequences are run together with padding that the contract is about."""
        kept = PADDING in self.subject.batch.context
        return not kept and self.subject.takes_lengths and bool((self.lengths < self.inputs.shape[1]).any())

    def _run(self, inputs: Tensor, order: Tensor | None = None, row: int | None = None, *, cut: bool = False) -> Tensor:
        """Scores float64[N, K] of all sequences in some order, or of one alone.

        Args:
            inputs: of these sequences.
            order: int64[N], their places among the few; by default all.
            row: the place of the only one.
            cut: whether the inputs are cut to the length of the only one.
        """
        places = torch.tensor([row]) if row is not None else torch.arange(len(inputs)) if order is None else order
        lengths, instance = self.lengths[places], self.few[places]
        if row is not None and (cut or not self.subject.takes_lengths):
            inputs = inputs[:, : int(lengths[0])]
        if self.subject.takes_lengths or bool((lengths == lengths[0]).all()):
            return self._forward(
                inputs[:, : None if self.subject.takes_lengths else int(lengths[0])], lengths, instance
            )
        scores: Tensor | None = None
        for length in lengths.unique().tolist():
            equal = (lengths == length).nonzero().flatten()
            part = self._forward(inputs[equal, :length], lengths[equal], instance[equal])
            scores = part.new_zeros(len(lengths), part.shape[1]) if scores is None else scores
            scores[equal] = part
        return scores  # type: ignore[return-value]  # there is at least one length

    def _forward(self, inputs: Tensor, lengths: Tensor, instance: Tensor) -> Tensor:
        """Scores float64[N, K] of one call; every error becomes a DataError, because no method is at fault yet."""
        try:
            # copies, because a module may write into its inputs
            return self.subject.forward(inputs.clone(), lengths.clone(), instance).double()
        except DataError:
            raise
        except XrnnbenchError as error:
            raise DataError(str(error)) from error

    def _measure_scale(self, scores: Tensor) -> None:
        """Set spread and allowed difference of each output, from scores float64[N, K] and those of the references."""
        reference = self.subject.reference[self.few, : self.inputs.shape[1]]
        seen = torch.cat([scores, self._run(reference)])
        function = any(isinstance(module, PredictFunction) for module in self.subject.model.modules())
        # plain functions may compute in single precision whatever they return
        dtype = torch.float32 if function else self.subject.batch_outputs.dtype
        self.spread, self.allowed = spread_of(seen), allowed_differences(seen, dtype, self.tolerance)

    def _compared(self, name: Name, left: Tensor, right: Tensor, fault: _Fault, order: Tensor | None = None) -> Promise:
        """A promise, from the scores float64[N, K] of two runs that must agree."""
        gaps = (left - right).abs()
        excess = gaps / self.allowed.clamp_min(torch.finfo(torch.float64).tiny)
        worst = int(excess.amax(1).argmax())
        output = int(excess[worst].argmax())
        difference = float(gaps[worst, output])
        sequence = int(self.few[worst if order is None else int(order[worst])])
        if bool((gaps <= self.allowed).all()):
            return Promise(name, kept=True, difference=difference, sequence=sequence)
        spread = float(self.spread[output])
        share = f"{difference / spread:.1%} of the spread of its scores" if spread else "all of its score"
        scores = f"{float(left[worst, output]):.4g} and {float(right[worst, output]):.4g}, {share}"
        detail = f"{self.subject.label} {fault.words.format(scores=scores, sequence=sequence)}"
        kept = () if self.subject.adapter is None else tuple(sorted(self.subject.adapter.kept))
        if kept and name != "padding ignored":
            detail += f"; it keeps {', '.join(kept[:3])} from call to call: reset that before it is explained, or"
        return Promise(
            name,
            kept=False,
            difference=difference,
            sequence=sequence,
            detail=detail,
            way_out=fault.way_out,
            option=fault.option,
        )


_RANDOM: Final = _Fault(
    "gives another score when it is run again on the same sequences ({scores} on sequence {sequence})",
    "switch off what it draws (dropout, sampling) and what it keeps from call to call, or explain the mean that it "
    "draws from",
)
_MATES: Final = _Fault(
    "gives sequence {sequence} another score alone than in a batch ({scores})",
    "take out what mixes the sequences of a batch, such as batch statistics, or a state that is kept for some batch "
    "size",
    "if it takes [T, B, …], say batch_first=False",
)
_ORDER: Final = _Fault(
    "gives sequence {sequence} another score at another place of the batch ({scores})",
    "take out what depends on the order of a batch, such as sequences that are sorted and not put back",
    "if it takes [T, B, …], say batch_first=False",
)
_PADDING_READ: Final = _Fault(
    "reads the padding beyond the length of sequence {sequence} ({scores})",
    "pack the sequences or mask the padding in its forward",
    "say padding='keep' to explain it at the given width with the given padding, or padding='cut' to run each sequence "
    "at its own length",
)


def _merged(promises: list[Promise]) -> list[Promise]:
    """One finding for each promise: a broken one before a kept one before none, and of these the larger difference."""
    names = [name for name in _PROMISES if any(promise.name == name for promise in promises)]
    rank = {False: 0, True: 1, None: 2}
    return [min((p for p in promises if p.name == name), key=lambda p: (rank[p.kept], -p.difference)) for name in names]
