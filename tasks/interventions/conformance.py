"""The conformance kit for interventions: does one keep the promises of its contract?

Used by ``xrnnbench check NAME`` on any intervention and by the test suite on every built-in.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import torch

from ...conformance import Finding
from ...errors import XrnnbenchError
from ...plugins import configure
from ..data.batch import Batch, Names
from ..engine.variants import Given, Masked
from ..models.networks import RecurrentNet
from ..models.retraining import Retraining
from ..models.training import Recipe
from ..subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from .base import Intervention

_LENGTHS: Final = (6, 4, 3, 1)
_TOLERANCE: Final = 1e-5


def check_intervention(by: Intervention) -> list[Finding]:
    """Every promise, kept or not.

    * declared: a source and a page;
    * spec: what identifies the intervention builds it again;
    * applicable: it says something about numbers or about tokens;
    * views: of the same sequences, with the same targets and the same count of passes, and at least one;
    * nothing removed: the outputs are those of the view's model for the sequences themselves;
    * everything removed: the outputs do not depend on what was there;
    * padding: neither its content nor its width changes an output;
    * batch mates: nor do the other sequences;
    * repeatable: the same outputs to the bit;
    * no trace: the subject's inputs, reference and weights are as they were.
    """
    found = [_declared(by), _spec(by)]
    subjects = [subject for tokens in (False, True) if not by.unfit(subject := specimen(tokens=tokens))]
    where = ", ".join(subject.label for subject in subjects) or "neither numbers nor tokens"
    found.append(Finding("applicable", bool(subjects), f"to {where}"))
    for subject in subjects:
        for check in (_views, _nothing, _everything, _padding, _mates, _repeatable, _no_trace):
            name = f"{check.__name__.strip('_').replace('_', ' ')} on {subject.label}"
            found.append(_guarded(name, lambda check=check, subject=subject: check(by, subject)))  # type: ignore[misc]  # bound at once
    return found


def specimen(*, tokens: bool = False, padding: int = 0, noise: int = 0, others: int = 0, seed: int = 0) -> Subject:
    """A small untrained network with a batch and a background, on which it can be trained.

    Args:
        tokens: whether the inputs are tokens; if not, numbers float[B, T, 2].
        padding: steps of padding added to the longest.
        noise: what is written on the padding.
        others: another number, other sequences in all rows but the first.
        seed: another number, other values on the first sequence.
    """
    lengths = torch.tensor(_LENGTHS)
    steps = int(lengths.max()) + padding
    shape = (len(lengths), int(lengths.max())) if tokens else (len(lengths), int(lengths.max()), 2)
    inputs = torch.full((len(lengths), steps, *shape[2:]), noise, dtype=torch.int64 if tokens else torch.float32)
    for row, length in enumerate(_LENGTHS):
        inputs[row, :length] = _drawn(
            (length, *shape[2:]), seed if row == 0 else 10 + row + 100 * others, tokens=tokens
        )
    background = Batch(
        _drawn((9, 6, *shape[2:]), 5, tokens=tokens), torch.tensor([6] * 5 + [3] * 4), torch.zeros(9).long()
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


def _drawn(shape: tuple[int, ...], seed: int, *, tokens: bool) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(2, 8, shape, generator=rng) if tokens else torch.randn(shape, generator=rng)


def _outputs(by: Intervention, subject: Subject, keep: Tensor) -> Tensor:
    """float[draws, B, K]: each sequence with the steps bool[B, T] kept."""
    variants = by.variants(Masked(keep, torch.arange(len(subject))))
    return torch.stack([view.outputs(variants) for view in by.views(subject)])


def _some(subject: Subject) -> Tensor:
    """bool[B, T]: every second step."""
    return (torch.arange(subject.batch.inputs.shape[1]) % 2 == 0).expand(len(subject), -1)


def _declared(by: Intervention) -> Finding:
    wrong = [] if by.source else ["no source is named"]
    if not by.page() or by.page().startswith(f"{type(by).__name__}("):
        wrong.append("the class has no docstring")
    return Finding("declared", not wrong, "; ".join(wrong))


def _spec(by: Intervention) -> Finding:
    again = configure(type(by), by.spec.partition(":")[2])
    return Finding("spec", again == by, f"{by.spec} builds {again!r}")


def _guarded(name: str, check: Callable[[], str]) -> Finding:
    try:
        wrong = check()
    except XrnnbenchError as error:
        wrong = str(error)
    except Exception as error:  # noqa: BLE001  # whatever an intervention raises, its author is to read it here
        wrong = f"{type(error).__name__}: {error}"
    return Finding(name, not wrong, wrong)


def _views(by: Intervention, subject: Subject) -> str:
    views = by.views(subject)
    if not views:
        return "there is none"
    for view in views:
        if len(view) != len(subject) or not torch.equal(view.batch.lengths, subject.batch.lengths):
            return "other sequences than the subject's"
        if not torch.equal(view.target, subject.target):
            return "other targets than the subject's"
        if view.cost is not subject.cost:
            return "passes are counted elsewhere: make views with dataclasses.replace"
    return ""


def _nothing(by: Intervention, subject: Subject) -> str:
    every = torch.ones(subject.batch.inputs.shape[:2], dtype=torch.bool)
    whole = torch.stack([view.outputs(Given(view.batch.inputs)) for view in by.views(subject)])
    return _differing(_outputs(by, subject, every), whole)


def _everything(by: Intervention, subject: Subject) -> str:
    none = torch.zeros(subject.batch.inputs.shape[:2], dtype=torch.bool)
    other = specimen(tokens=subject.batch.tokens, seed=3)
    return _differing(_outputs(by, subject, none)[:, 0], _outputs(by, other, none)[:, 0])


def _padding(by: Intervention, subject: Subject) -> str:
    plain = _outputs(by, subject, _some(subject))
    for more in ({"noise": 3}, {"padding": 4}, {"padding": 4, "noise": 3}):
        other = specimen(tokens=subject.batch.tokens, **more)
        if wrong := _differing(plain, _outputs(by, other, _some(other))):
            return wrong
    return ""


def _mates(by: Intervention, subject: Subject) -> str:
    other = specimen(tokens=subject.batch.tokens, others=1)
    return _differing(_outputs(by, subject, _some(subject))[:, 0], _outputs(by, other, _some(other))[:, 0])


def _repeatable(by: Intervention, subject: Subject) -> str:
    first, again = (_outputs(by, specimen(tokens=subject.batch.tokens), _some(subject)) for _ in range(2))
    return "" if torch.equal(first, again) else "another result the second time"


def _no_trace(by: Intervention, subject: Subject) -> str:
    kept = dataclasses.replace(subject.batch, inputs=subject.batch.inputs.clone()), subject.reference.clone()
    weights = {name: value.clone() for name, value in subject.model.state_dict().items()}
    _outputs(by, subject, _some(subject))
    same = torch.equal(kept[0].inputs, subject.batch.inputs) and torch.equal(kept[1], subject.reference)
    alike = all(torch.equal(value, weights[name]) for name, value in subject.model.state_dict().items())
    return "" if same and alike else "the subject's data or weights changed"


def _differing(left: Tensor, right: Tensor) -> str:
    if left.shape != right.shape:
        return f"outputs of shape {list(left.shape)} instead of {list(right.shape)}"
    gap = float((left - right).abs().max())
    return "" if gap <= _TOLERANCE else f"outputs differ by {gap:.3g}"
