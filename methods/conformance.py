"""The conformance kit for methods: what every explainer is held to, whoever wrote it.

The suite runs it over every built-in; ``xrnnbench check NAME`` runs it over anybody's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..conformance import Finding
from ..errors import XrnnbenchError
from ..plugins import build
from ..tasks.data.batch import Batch, Outputs, Truth
from ..tasks.engine.calling import OUTPUT_STEP, AdaptedModel, PredictFunction
from ..tasks.models.networks import AttentiveRecurrentNet, EncoderDecoder, RecurrentNet
from ..tasks.subject import Subject
from .base import Explainer

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
_TOLERANCE = 1e-5
_COMPLETE = 1e-3
Check = Callable[[Explainer, Subject], str]


def check_method(method: Explainer) -> list[Finding]:
    """Every promise of the contract, on each kind of subject that :func:`specimens` makes.

    Returns:
        one finding for each promise and kind of subject the method serves; an unserved kind is a finding that says so.
    """
    found = [Finding("its page says what it costs and where it fails", *_page(method)), _round_trip(method)]
    served = []
    for kind, subject in specimens():
        reason = method.applicable(subject)
        if reason:
            found.append(Finding(f"{kind}: served", passed=True, detail=f"not applicable: {reason}"))
            continue
        served.append(subject)
        for promise, check in _CHECKS.items():
            found.append(_finding(f"{kind}: {promise}", check, method, subject))
    if method.stochastic and served and all(finding.passed for finding in found):
        found.append(_seeds_matter(method, served))
    return found


def specimens(lengths: Sequence[int] = (7, 1, 4, 7, 2, 5)) -> Iterator[tuple[str, Subject]]:
    """Small subjects of each kind, with sequences of these lengths, in training mode and with random weights.

    Tokens with attention, cells, a regression, a model that is not told lengths, one output step of a translator, and a
    plain function.
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
    said = {"produced": produced, OUTPUT_STEP: steps}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attentive = AttentiveRecurrentNet(
            5, 8, 3, cell="gru", bidirectional=True, pooling="attention", vocabulary_size=12, dropout=0.3
        )
        classifier = RecurrentNet(3, 8, 3, cell="lstm", layers=2, dropout=0.3)
        regressor = RecurrentNet(3, 8, 1, cell="rnn", pooling="mean")
        deaf = _Deaf(RecurrentNet(3, 8, 3, cell="lstm", bidirectional=True, pooling="max"))
        translator = AdaptedModel(EncoderDecoder(12, 6, 8, embedding_size=5), steps=True)
        function = PredictFunction(_Function(RecurrentNet(3, 8, 3, cell="gru", pooling="mean")), "the function")
    truth = {"marks": Truth(marks.float(), "planted", "the predicted class")}
    numbers = {"cells": Truth(cells, "coefficient", "the output", signed=True)}
    batches = {
        "tokens": (attentive, Batch(tokens, cut, classes, truth), torch.ones_like(tokens) * valid),
        "cells": (classifier, Batch(cells, cut, classes, truth), torch.zeros_like(cells)),
        "regression": (regressor, Batch(cells, cut, cells.sum(1)[:, :1], numbers), torch.zeros_like(cells)),
        "no lengths": (deaf, Batch(cells, cut, classes), torch.zeros_like(cells)),
        "output step": (
            translator,
            Batch(tokens, cut, produced[torch.arange(count), steps], context=said),
            torch.ones_like(tokens) * valid,
        ),
        "plain function": (function, Batch(cells, cut, classes), torch.zeros_like(cells)),
    }
    for kind, (model, batch, reference) in batches.items():
        outputs: Outputs = "values" if kind == "regression" else "logits"
        background = replace(batch, truths={})
        label = f"the {kind} specimen"
        yield kind, Subject(model, batch, reference, background=background, outputs_are=outputs, label=label)


class _Deaf(nn.Module):
    """A model that is not told lengths, as many users' are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.inner(inputs)
        return found


class _Function:
    """A function from arrays to scores, as a model of another library is to us."""

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner.eval()

    def __call__(self, inputs: FloatArray, lengths: IntArray) -> FloatArray:
        with torch.no_grad():
            found: FloatArray = self.inner(torch.from_numpy(inputs), torch.from_numpy(lengths)).numpy()
        return found


def _finding(name: str, check: Check, method: Explainer, subject: Subject) -> Finding:
    try:
        wrong = check(method, subject)
    except XrnnbenchError as error:
        wrong = str(error)
    except Exception as error:  # noqa: BLE001  # whatever an author's method raises is a finding
        wrong = f"raised {type(error).__name__}: {error}"
    return Finding(name, passed=not wrong, detail=wrong)


def _page(method: Explainer) -> tuple[bool, str]:
    page = method.page()
    missing = [word for word in ("Cost:", "Fails where:") if word not in page]
    return not missing, f"the docstring has no {' and no '.join(missing)}" if missing else ""


def _round_trip(method: Explainer) -> Finding:
    """Only for what has a name to be found by: a class in a file is found by its path."""
    if method.source_hash:
        return Finding("its spec names it", passed=True, detail="from a file")
    try:
        same = build("method", method.spec) == method
    except XrnnbenchError as error:
        return Finding("its spec names it", passed=False, detail=str(error))
    return Finding("its spec names it", passed=same, detail="" if same else f"{method.spec!r} makes another one")


def _shape(method: Explainer, subject: Subject) -> str:
    found = method.explain(subject, seed=1)
    outside = ~(subject.batch.valid if found.granularity == "step" else subject.valid)
    return "" if bool((found.values[outside] == 0).all()) else "a value on padding is not 0"


def _same_seed(method: Explainer, subject: Subject) -> str:
    first, second = method.explain(subject, seed=1).values, method.explain(subject, seed=1).values
    return "" if torch.equal(first, second) else "the same seed gave another result"


def _stochastic(method: Explainer, subject: Subject) -> str:
    first, *others = (method.explain(subject, seed=seed).values for seed in (1, 2, 3))
    same = all(torch.equal(first, other) for other in others)
    return "" if same or method.stochastic else "another seed gave another result, and it does not say it is stochastic"


def _seeds_matter(method: Explainer, subjects: list[Subject]) -> Finding:
    """Somewhere, not everywhere: what draws may be exact where little is to be drawn, and 0 is what it was."""
    runs = ([method.explain(subject, seed=seed).values for seed in (1, 2, 3)] for subject in subjects)
    zero = True
    for first, *others in runs:
        zero = zero and bool((first == 0).all())
        if not all(torch.equal(first, other) for other in others):
            return Finding("seeds matter, as it says", passed=True)
    wrong = "" if zero else "it says it is stochastic, and three seeds gave the same on every kind"
    return Finding("seeds matter, as it says", passed=zero, detail=wrong)


def _batch_mates(method: Explainer, subject: Subject) -> str:
    if not method.local:
        return ""
    whole = method.explain(subject, seed=1).values
    part = method.explain(subject.select(slice(0, 3)), seed=1).values
    return _close(whole[:3, : part.shape[1]], part, "batch mates changed the result")


def _more_padding(method: Explainer, subject: Subject) -> str:
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


def _complete(method: Explainer, subject: Subject) -> str:
    """Controls are exempt: a false claim may be what they are kept to show."""
    if not method.complete or method.group == "control":
        return ""
    found = method.explain(subject, seed=1).values.flatten(1).sum(1)
    return _close(found, subject.score - subject.reference_score, "the values do not sum to f(x) − f(x⁰)", _COMPLETE)


def _no_trace(method: Explainer, subject: Subject) -> str:
    subject.model.train()
    before = _state(subject.model)
    method.explain(subject, seed=1)
    after = _state(subject.model)
    return next((f"explaining changed {name}" for name in before if before[name] != after[name]), "")


def _state(model: nn.Module) -> dict[str, object]:
    return {
        "the mode": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad is None for parameter in model.parameters()],
        "weights": [tensor.tolist() for tensor in model.state_dict().values()],
        "hooks": [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],  # noqa: SLF001  # torch shows them no other way
        "torch's random state": torch.get_rng_state().tolist(),
        "NumPy's random state": np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002  # the global state is what is watched
        "Python's random state": random.getstate(),
        "cuDNN's flags": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
    }


def _close(left: Tensor, right: Tensor, otherwise: str, tolerance: float = _TOLERANCE) -> str:
    gap = float((left - right).abs().max() / (1 + right.abs().max()))
    return "" if gap <= tolerance else f"{otherwise} (by {gap:.1g})"


_CHECKS: dict[str, Check] = {
    "right shape, finite, 0 on padding": _shape,
    "the same seed gives the same": _same_seed,
    "says whether seeds matter": _stochastic,
    "batch mates do not matter": _batch_mates,
    "padding does not matter": _more_padding,
    "a claimed completeness holds": _complete,
    "leaves no trace": _no_trace,
}
