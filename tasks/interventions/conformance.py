"""Conformance tests of interventions: checks that one keeps the promises of its contract.

Used by ``xrnnbench check NAME`` on any intervention and by the test suite on every built-in.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import torch

from ...conformance import Examination, Finding, Observation, checked_spec
from ...errors import ContractError
from ..data.batch import Batch, Names
from ..engine.variants import Given, Masked
from ..models.networks import RecurrentNet
from ..models.retraining import Retraining
from ..models.training import Recipe
from ..subject import Subject
from ..traces import Traces

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Intervention

_LENGTHS: Final = (6, 4, 3, 1)
_TOLERANCE: Final = 1e-5


def check_intervention(by: Intervention) -> list[Finding]:
    """Test an intervention against its contract, with one finding for each promise.

    * declared: it has a source and a page;
    * spec: its spec builds it again;
    * applicable: it fits numbers or tokens;
    * views: there is at least one, and each has the same sequences, the same targets and the same counter of passes;
    * nothing removed: the outputs are those of the view's model for the unchanged sequences;
    * everything removed: the outputs do not depend on the original values;
    * padding: neither its content nor its width changes an output;
    * batch mates: the other sequences of the batch do not change an output;
    * repeatable: a second evaluation returns the same outputs to the bit;
    * no trace: the subject's inputs, reference and weights are unchanged.
    """
    examination = Examination(by)
    examination.add(_declared(by), checked_spec(by))
    subjects: list[Subject] = []
    examination.check("applicable", functools.partial(_find_applicable, by, subjects))
    for subject in subjects:
        for check in (_views, _nothing, _everything, _padding, _mates, _repeatable, _no_trace):
            name = f"{check.__name__.strip('_').replace('_', ' ')} on {subject.label}"
            examination.check(name, functools.partial(check, by, subject))
    return examination.findings


def _find_applicable(by: Intervention, subjects: list[Subject]) -> Observation:
    """Add the test subjects that an intervention fits; there has to be one."""
    found = [specimen(tokens=tokens) for tokens in (False, True)]
    subjects += [subject for subject in found if not by.unfit(subject)]
    labels = ", ".join(subject.label for subject in subjects)
    return Observation(
        bool(subjects), f"to {labels or 'neither numbers nor tokens, so nothing that it does was tested'}"
    )


def specimen(*, tokens: bool = False, padding: int = 0, noise: int = 0, others: int = 0, seed: int = 0) -> Subject:
    """A test subject: a small untrained network with a batch, and a background that it can be trained on.

    Args:
        tokens: whether the inputs are tokens int64[B, T]; otherwise they are numbers float[B, T, 2].
        padding: steps of padding after the longest sequence.
        noise: the value of all padding.
        others: seed of the sequences in all rows but the first.
        seed: seed of the first sequence.
    """
    lengths = torch.tensor(_LENGTHS)
    steps = int(lengths.max()) + padding
    shape = (len(lengths), int(lengths.max())) if tokens else (len(lengths), int(lengths.max()), 2)
    inputs = torch.full((len(lengths), steps, *shape[2:]), noise, dtype=torch.int64 if tokens else torch.float32)
    for row, length in enumerate(_LENGTHS):
        inputs[row, :length] = _random_inputs(
            (length, *shape[2:]), seed if row == 0 else 10 + row + 100 * others, tokens=tokens
        )
    background = Batch(
        _random_inputs((9, 6, *shape[2:]), 5, tokens=tokens), torch.tensor([6] * 5 + [3] * 4), torch.zeros(9).long()
    )

    def network() -> RecurrentNet:
        return RecurrentNet(2, 4, 3, cell="gru", vocabulary_size=8 if tokens else 0, pooling="mean").eval()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = network()
    words = ("<pad>", "<unk>", *"abcdef") if tokens else ()
    return Subject(
        net,
        Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64)),
        reference=torch.zeros_like(inputs),
        target=torch.zeros(len(lengths), dtype=torch.int64),
        background=background,
        names=Names(vocabulary=words),
        retraining=Retraining(background, background, lambda batch: torch.zeros_like(batch.inputs), network, Recipe(1)),
        label="tokens" if tokens else "numbers",
    )


def _random_inputs(shape: tuple[int, ...], seed: int, *, tokens: bool) -> Tensor:
    """Random tokens from 2 to 7, or standard normal numbers, of a shape."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(2, 8, shape, generator=rng) if tokens else torch.randn(shape, generator=rng)


def _outputs(by: Intervention, subject: Subject, keep: Tensor) -> Tensor:
    """Outputs float[draws, B, K] of the sequences of which the steps ``keep`` bool[B, T] are kept."""
    variants = by.variants(Masked(keep, torch.arange(len(subject))))
    return torch.stack([view.outputs(variants) for view in _views_of(by, subject)])


def _views_of(by: Intervention, subject: Subject) -> tuple[Subject, ...]:
    """The views of a subject.

    Raises:
        ContractError: there is none.
    """
    if not (views := by.views(subject)):
        raise ContractError("it returns no view")
    return views


def _alternate_steps(subject: Subject) -> Tensor:
    """A mask bool[B, T] that keeps every second step."""
    return (torch.arange(subject.batch.inputs.shape[1]) % 2 == 0).expand(len(subject), -1)


def _declared(by: Intervention) -> Finding:
    """Whether the class declares a source and has a docstring."""
    problems = [] if by.source else ["no source is named"]
    if not by.page() or by.page().startswith(f"{type(by).__name__}("):
        problems.append("the class has no docstring")
    return Finding("declared", not problems, "; ".join(problems))


def _views(by: Intervention, subject: Subject) -> str:
    """The first violation of the promises about views."""
    for view in _views_of(by, subject):
        if len(view) != len(subject) or not torch.equal(view.batch.lengths, subject.batch.lengths):
            return "a view has other sequences than the subject"
        if not torch.equal(view.target, subject.target):
            return "a view has other targets than the subject"
        if view.cost is not subject.cost:
            return "a view counts its passes in another Cost: make views with dataclasses.replace"
    return ""


def _nothing(by: Intervention, subject: Subject) -> str:
    """Compare outputs after an empty removal with those of the unchanged sequences."""
    every_step = torch.ones(subject.batch.inputs.shape[:2], dtype=torch.bool)
    unchanged = torch.stack([view.outputs(Given(view.batch.inputs)) for view in _views_of(by, subject)])
    return _difference(_outputs(by, subject, every_step), unchanged)


def _everything(by: Intervention, subject: Subject) -> str:
    """Compare outputs after complete removal for two different first sequences."""
    no_step = torch.zeros(subject.batch.inputs.shape[:2], dtype=torch.bool)
    other = specimen(tokens=subject.batch.tokens, seed=3)
    return _difference(_outputs(by, subject, no_step)[:, 0], _outputs(by, other, no_step)[:, 0])


def _padding(by: Intervention, subject: Subject) -> str:
    """Compare outputs without padding values with those for other values and more padding."""
    plain = _outputs(by, subject, _alternate_steps(subject))
    for changes in ({"noise": 3}, {"padding": 4}, {"padding": 4, "noise": 3}):
        other = specimen(tokens=subject.batch.tokens, **changes)
        if violation := _difference(plain, _outputs(by, other, _alternate_steps(other))):
            return violation
    return ""


def _mates(by: Intervention, subject: Subject) -> str:
    """Compare outputs of the first sequence among different batch mates."""
    other = specimen(tokens=subject.batch.tokens, others=1)
    return _difference(
        _outputs(by, subject, _alternate_steps(subject))[:, 0], _outputs(by, other, _alternate_steps(other))[:, 0]
    )


def _repeatable(by: Intervention, subject: Subject) -> str:
    """Compare the outputs of two evaluations to the bit."""
    first, second = (_outputs(by, specimen(tokens=subject.batch.tokens), _alternate_steps(subject)) for _ in range(2))
    return "" if torch.equal(first, second) else "a second evaluation gives other outputs"


def _no_trace(by: Intervention, subject: Subject) -> str:
    """Compare the model, the data and the global states before and after an evaluation."""
    traces = Traces(subject)
    _outputs(by, subject, _alternate_steps(subject))
    changed = traces.found()
    return f"an evaluation changed {changed[0]}" if changed else ""


def _difference(left: Tensor, right: Tensor) -> str:
    """The difference of two outputs in shape or beyond the tolerance; empty if there is none."""
    if left.shape != right.shape:
        return f"outputs of shape {list(left.shape)} instead of {list(right.shape)}"
    gap = float((left - right).abs().max())
    return "" if gap <= _TOLERANCE else f"outputs differ by {gap:.3g}"
