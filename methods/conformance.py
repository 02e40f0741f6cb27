"""Conformance kit for methods: checks of the contract that every method must keep.

The tests run it on every built-in method; ``xrnnbench check NAME`` runs it on any method.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..conformance import Examination, Finding, NotTested, Result, checked_spec
from ..errors import XrnnbenchWarning
from ..tasks.data.batch import Batch, Outputs, Truth
from ..tasks.data.input_layout import InputLayout, part_of
from ..tasks.engine.adapters import AdaptedModel, PredictFunction
from ..tasks.engine.several_inputs import SeveralInputs
from ..tasks.engine.signature import GIVEN_INPUTS, OUTPUT_STEP, PRESENT_CELLS
from ..tasks.models.networks import AttentiveRecurrentNet, EncoderDecoder, RecurrentNet
from ..tasks.subject import Subject
from ..tasks.traces import Traces
from .base import Explainer

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
_TOLERANCE = 1e-5
_COMPLETE = 1e-3
Check = Callable[[Explainer, Subject], Result]


def check_method(method: Explainer) -> list[Finding]:
    """Check every promise of the contract on each kind of subject of :func:`specimens`.

    Returns:
        one finding for each promise and each kind of subject to which the method is applicable. A kind to which it is
        not applicable gives one finding, not tested, with the reason. Methods that need the selection of variables are
        tried on :func:`several_inputs` too. A method that is applicable to no kind fails.
    """
    examination = Examination(method)
    examination.add(Finding("the docstring states cost and failures", *_page(method)), checked_spec(method))
    with warnings.catch_warnings():
        # completeness is a promise of its own here, and models of random weights may predict one class only
        warnings.simplefilter("ignore", XrnnbenchWarning)
        subjects = _applicable(method, examination)
        sound = [subject for kind, subject in subjects.items() if _keeps_all(method, kind, subject, examination)]
        examination.check(
            "seeds change the result of a stochastic method", functools.partial(_seeds_matter, method, sound)
        )
    return examination.findings


def _applicable(method: Explainer, examination: Examination) -> dict[str, Subject]:
    """The specimens that a method is applicable to, by kind, with a finding about them and about each of the others."""
    subjects, failed = {}, False
    tried = [*specimens(), *([("several inputs", several_inputs())] if "selection" in method.needs else [])]
    for kind, subject in tried:
        finding = examination.judge(f"{kind}: every promise", functools.partial(_inapplicable, method, subject))
        if finding.passed:
            subjects[kind] = subject
        else:
            examination.add(finding)
        failed = failed or finding.failed
    if subjects or not failed:
        kinds = ", ".join(subjects) or "none of the specimens, so nothing that it computes was tested"
        examination.add(Finding("applicable", bool(subjects), f"to {kinds}"))
    return subjects


def _inapplicable(method: Explainer, subject: Subject) -> Result:
    """Why a method does not explain a subject; empty if it does."""
    reason = method.applicable(subject)
    return NotTested(f"not applicable: {reason}") if reason else ""


def _keeps_all(method: Explainer, kind: str, subject: Subject, examination: Examination) -> bool:
    """Whether a method keeps every promise on a kind of subject that was tested, with a finding for each."""
    findings = [
        examination.check(f"{kind}: {promise}", functools.partial(check, method, subject))
        for promise, check in _CHECKS.items()
    ]
    return not any(finding.failed or finding.hidden_by for finding in findings)


def specimens(lengths: Sequence[int] = (7, 1, 4, 7, 2, 5)) -> Iterator[tuple[str, Subject]]:
    """Small subjects of each kind, with random weights and in training mode.

    The kinds are tokens with attention, cells, a regression, a model that takes no lengths, one output step of a
    translator, and a plain function.

    Args:
        lengths: lengths of the sequences of each subject.

    Yields:
        the kind, and a subject of it.
    """
    rng = torch.Generator().manual_seed(0)
    count, longest, cut = len(lengths), max(lengths), torch.tensor(lengths)
    valid = torch.arange(longest) < cut[:, None]
    classes = torch.arange(count) % 3
    cells = torch.randn(count, longest, 3, generator=rng) * valid[:, :, None]
    tokens = torch.randint(2, 12, (count, longest), generator=rng) * valid
    marks = (torch.rand(count, longest, generator=rng) < 0.5) & valid
    produced, steps = (
        torch.randint(2, 6, (count, 4), generator=rng),
        torch.tensor([0, 1, 2, 3, 1, 0]).repeat(count)[:count],
    )
    context = {"produced": produced, OUTPUT_STEP: steps}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attentive = AttentiveRecurrentNet(
            5, 8, 3, cell="gru", bidirectional=True, pooling="attention", vocabulary_size=12, dropout=0.3
        )
        classifier = RecurrentNet(3, 8, 3, cell="lstm", layers=2, dropout=0.3)
        regressor = RecurrentNet(3, 8, 1, cell="mingru", pooling="mean")
        without_lengths = _Deaf(RecurrentNet(3, 8, 3, cell="lstm", bidirectional=True, pooling="max"))
        translator = AdaptedModel(EncoderDecoder(12, 6, 8, embedding_size=5), steps=True)
        function = PredictFunction(_Function(RecurrentNet(3, 8, 3, cell="gru", pooling="mean")), "the function")
    truth = {"marks": Truth(marks.float(), "planted", "the predicted class")}
    numbers = {"cells": Truth(cells, "coefficient", "the output", signed=True)}
    batches = {
        "tokens": (attentive, Batch(tokens, cut, classes, truth), torch.ones_like(tokens) * valid),
        "cells": (classifier, Batch(cells, cut, classes, truth), torch.zeros_like(cells)),
        "regression": (regressor, Batch(cells, cut, cells.sum(1)[:, :1], numbers), torch.zeros_like(cells)),
        "no lengths": (without_lengths, Batch(cells, cut, classes), torch.zeros_like(cells)),
        "output step": (
            translator,
            Batch(tokens, cut, produced[torch.arange(count), steps], context=context),
            torch.ones_like(tokens) * valid,
        ),
        "plain function": (function, Batch(cells, cut, classes), torch.zeros_like(cells)),
    }
    for kind, (model, batch, reference) in batches.items():
        outputs: Outputs = "values" if kind == "regression" else "logits"
        background = replace(batch, truths={})
        label = f"the {kind} specimen"
        yield kind, Subject(model, batch, reference, background=background, outputs_are=outputs, label=label)


def several_inputs(lengths: Sequence[int] = (7, 1, 4, 7, 2, 5)) -> Subject:
    """Small subject of several inputs, for methods that need them: steps, categories beside them, and static values.

    Its model shows how it selects its variables.

    Args:
        lengths: lengths of the sequences.
    """
    rng = torch.Generator().manual_seed(1)
    count, longest, cut = len(lengths), max(lengths), torch.tensor(lengths)
    valid = torch.arange(longest) < cut[:, None]
    numbers = torch.randn(count, longest, 2, generator=rng) * valid[..., None]
    kinds = torch.randint(1, 4, (count, longest), generator=rng) * valid
    static = torch.randn(count, 2, generator=rng)
    values = {"past": numbers, "kind": kinds, "static": static}
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    shapes["kind"] = (*shapes["kind"], 1)
    layout = InputLayout(tuple(part_of(name, shape, categories=name == "kind") for name, shape in shapes.items()))
    together = layout.packed(values, torch.float32)
    mask = layout.filled.expand(count, -1, -1).clone()
    for part in layout:
        if not part.static:
            mask[:, part.span] &= (torch.arange(part.steps) < cut[:, None])[..., None]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SeveralInputs(_Selecting(), layout, dict.fromkeys(shapes), None)
    context = {GIVEN_INPUTS: together.clone(), PRESENT_CELLS: mask}
    classes = torch.arange(count) % 3
    full = torch.full((count,), layout.steps)
    batch = Batch(together, full, classes, context=context, mask=mask, layout=layout)
    reference = torch.where(mask, torch.zeros(()), together)
    background = replace(batch, context={})
    return Subject(model, batch, reference, background=background, label="the several inputs specimen")


class _Selecting(nn.Module):
    """Model of several inputs that weighs its variables by weights which it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(4, 2)
        self.weights = nn.Linear(2, 3)
        self.rnn = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6 + 2, 3)

    def forward(self, past: Tensor, kind: Tensor, static: Tensor) -> Tensor:
        return self.forward_with_selection(past, kind, static)[0]

    def forward_with_selection(self, past: Tensor, kind: Tensor, static: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.weights(static).softmax(1)[:, None]
        selected = torch.cat([past * weights[..., :2], self.kinds(kind[..., 0]) * weights[..., 2:]], 2)
        scores: Tensor = self.head(torch.cat([self.rnn(selected)[0].mean(1), static], 1))
        steps = weights.expand(-1, past.shape[1], -1)
        return scores, {"past": steps[..., :2], "kind": steps[..., 2:]}


class _Deaf(nn.Module):
    """Model without an argument for lengths, as many models of users are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.inner(inputs)
        return outputs


class _Function:
    """Function from arrays to scores, which takes the place of a model of another library."""

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner.eval()

    def __call__(self, inputs: FloatArray, lengths: IntArray) -> FloatArray:
        with torch.no_grad():
            outputs: FloatArray = self.inner(torch.from_numpy(inputs), torch.from_numpy(lengths)).numpy()
        return outputs


def _page(method: Explainer) -> tuple[bool, str]:
    """Whether the docstring has the required sections, and a sentence that names the missing ones."""
    page = method.page()
    missing = [word for word in ("Cost:", "Fails where:") if word not in page]
    return not missing, f"the docstring has no {' and no '.join(missing)}" if missing else ""


def _shape(method: Explainer, subject: Subject) -> str:
    """Complaint about a value on padding; :meth:`Explainer.explain` checks the shape and finiteness itself."""
    attribution = method.explain(subject, seed=1)
    padding = ~(subject.batch.valid if attribution.granularity == "step" else subject.valid)
    return "" if bool((attribution.values[padding] == 0).all()) else "a value on padding is not 0"


def _same_seed(method: Explainer, subject: Subject) -> str:
    """Complaint about two different attributions of one seed."""
    first, second = method.explain(subject, seed=1).values, method.explain(subject, seed=1).values
    return "" if torch.equal(first, second) else "the same seed gave another result"


def _stochastic(method: Explainer, subject: Subject) -> Result:
    """Complaint about a method that is not declared stochastic and depends on the seed."""
    if method.stochastic:
        return NotTested("the method is declared stochastic")
    first, *others = (method.explain(subject, seed=seed).values for seed in (1, 2, 3))
    same = all(torch.equal(first, other) for other in others)
    return "" if same else "another seed gave another result, and stochastic is False"


def _seeds_matter(method: Explainer, subjects: list[Subject]) -> Result:
    """Complaint about a method that is declared stochastic and gives the same for every seed on every subject.

    One subject is enough, because a method that samples may be exact on small subjects. A method whose values are all
    0 cannot be judged.
    """
    if not method.stochastic:
        return NotTested("the method is not declared stochastic")
    if not subjects:
        return NotTested("there is no kind of subject on which the method keeps its other promises")
    runs = ([method.explain(subject, seed=seed).values for seed in (1, 2, 3)] for subject in subjects)
    zero = True
    for first, *others in runs:
        zero = zero and bool((first == 0).all())
        if not all(torch.equal(first, other) for other in others):
            return ""
    return NotTested("all values are 0") if zero else "stochastic is True, and three seeds gave the same on every kind"


def _batch_mates(method: Explainer, subject: Subject) -> Result:
    """Complaint about a local method whose values depend on the other sequences of the batch."""
    if not method.local:
        return NotTested("the method explains the batch as a whole")
    whole = method.explain(subject, seed=1).values
    part = method.explain(subject.select(slice(0, 3)), seed=1).values
    return _close(whole[:3, : part.shape[1]], part, "other sequences of the batch changed the result")


def _more_padding(method: Explainer, subject: Subject) -> Result:
    """Complaint about values that change when the batch gets two more steps of padding."""
    if subject.batch.layout is not None:
        return NotTested("several inputs have the padding that they are given")
    whole = method.explain(subject, seed=1).values
    extra = (0, 2) if subject.batch.tokens else (0, 0, 0, 2)
    pad = nn.functional.pad
    batch = Batch(
        pad(subject.batch.inputs, extra), subject.batch.lengths, subject.batch.targets,
        {
            name: replace(truth, values=pad(truth.values, (0, 2) if truth.values.dim() == 2 else (0, 0, 0, 2)))
            for name, truth in subject.batch.truths.items()
        },
        subject.batch.context,
    )  # fmt: skip
    padded = replace(subject, batch=batch, reference=pad(subject.reference, extra))
    return _close(method.explain(padded, seed=1).values[:, : whole.shape[1]], whole, "more padding changed the result")


def _complete(method: Explainer, subject: Subject) -> Result:
    """Complaint about a claimed completeness that does not hold.

    Controls are exempt, because a control may exist to show a false claim.
    """
    if not method.complete:
        return NotTested("the method does not claim completeness")
    if method.group == "control":
        return NotTested("the claim of a control may be false")
    total = method.explain(subject, seed=1).values.flatten(1).sum(1)
    return _close(total, subject.score - subject.reference_score, "the values do not sum to f(x) − f(x⁰)", _COMPLETE)


def _no_trace(method: Explainer, subject: Subject) -> str:
    """Complaint about a change of the model, the data or a global state."""
    subject.model.train()
    traces = Traces(subject)
    method.explain(subject, seed=1)
    changed = traces.found()
    return f"explaining changed {changed[0]}" if changed else ""


def _close(left: Tensor, right: Tensor, complaint: str, tolerance: float = _TOLERANCE) -> str:
    """Complaint with the largest gap, relative to 1 + max |right|; empty if the gap is within the tolerance."""
    gap = float((left - right).abs().max() / (1 + right.abs().max()))
    return "" if gap <= tolerance else f"{complaint} (by {gap:.1g})"


_CHECKS: dict[str, Check] = {
    "right shape, finite, 0 on padding": _shape,
    "the same seed gives the same values": _same_seed,
    "stochastic is declared if seeds matter": _stochastic,
    "other sequences of the batch do not matter": _batch_mates,
    "padding does not matter": _more_padding,
    "a claimed completeness holds": _complete,
    "leaves no trace": _no_trace,
}
