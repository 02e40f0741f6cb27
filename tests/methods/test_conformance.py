"""Every built-in method is held to the kit, and the kit catches every way to break the contract."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrnnbench.conformance import NotTested
from xrnnbench.methods.base import Attribution, Explainer
from xrnnbench.methods.conformance import _CHECKS, check_method, specimens
from xrnnbench.plugins import build, names

COUNTER = count()


@pytest.mark.no_cover  # see pyproject.toml
@pytest.mark.parametrize("name", names("method"))
@pytest.mark.full_except(
    "random",
    "attention",
    "gradient-x-input",
    "integrated-gradients",
    "deeplift",
    "lrp",
    "occlusion",
    "lime",
    "kernel-shap",
    "temporal-ig",
)
def test_every_built_in_keeps_its_promises(name):
    assert [str(finding) for finding in check_method(build("method", name)) if finding.failed] == []


# small budgets: lengths are what is tried here
QUICK = {
    "dynamask": "dynamask:iterations=5", "extremal-mask": "extremal-mask:iterations=5", "lime": "lime:samples=40",
    "lime-text": "lime-text:samples=40", "lime-recurrent": "lime-recurrent:samples=40", "greedy": "greedy:budget=40",
    # gate + signal near 0 hands out many times what it got, rounding too: with a larger ε it is the lengths that count
    "lrp-prop": "lrp-prop:epsilon=0.1",
}  # fmt: skip


@pytest.mark.parametrize("name", names("method"))
@settings(deadline=None, max_examples=5, derandomize=True, suppress_health_check=list(HealthCheck))
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@pytest.mark.full_except("attention", "integrated-gradients", "deeplift")
def test_any_lengths_keep_the_promises(name, lengths):
    method = build("method", QUICK.get(name, name))
    for kind, subject in specimens([*lengths, 3, 1]):
        if method.applicable(subject):
            continue
        for promise in (
            "right shape, finite, 0 on padding",
            "other sequences of the batch do not matter",
            "padding does not matter",
        ):
            result = _CHECKS[promise](method, subject)
            assert isinstance(result, NotTested) or result == "", (kind, promise)


@dataclass(frozen=True)
class Good(Explainer):
    """The inputs' first column.

    Cost: none.
    Fails where: asked.
    """

    name: ClassVar[str] = "good"
    source_hash: ClassVar[str] = "a file"

    def attribute(self, subject, rng):
        return subject.continuous().batch.inputs[..., 0].clone()


def broken(**members):
    """A method with one thing wrong."""
    return type("Bad", (Good,), {"__doc__": Good.__doc__, **members})()


def raises(self, subject, rng):
    raise RuntimeError("no")


def trains(self, subject, rng):
    with torch.no_grad():
        next(subject.model.parameters()).add_(1)
    return Good.attribute(self, subject, rng)


def sums(self, subject, rng):
    found = Good.attribute(self, subject, rng)
    return found + found.sum()


def mean_over_steps(self, subject, rng):
    found = Good.attribute(self, subject, rng)
    return found - found.mean(1, keepdim=True)


def forgets_its_seed(self, subject, rng):
    return torch.rand(subject.shape, generator=torch.Generator().manual_seed(next(COUNTER)))


BROKEN = {
    "returned a list": {"attribute": lambda self, subject, rng: [1]},
    "returned shape": {"attribute": lambda self, subject, rng: torch.zeros(2)},
    "not finite": {"attribute": lambda self, subject, rng: torch.full(subject.shape, torch.nan)},
    "raised RuntimeError: no": {"attribute": raises},
    "of the model it explains; it has been restored": {"attribute": trains},
    "the same seed gave another result": {"attribute": forgets_its_seed},
    "stochastic is False": {"attribute": lambda self, s, rng: torch.rand(s.shape, generator=rng)},
    "three seeds gave the same": {"stochastic": True},
    "other sequences of the batch changed": {"attribute": sums},
    "more padding changed": {"attribute": mean_over_steps},
    "do not sum to": {"complete": True},
    "no Cost: and no Fails where:": {"__doc__": "A page that says nothing."},
}  # fmt: skip


def test_a_good_method_passes():
    assert not any(finding.failed for finding in check_method(Good()))


@pytest.mark.parametrize("complaint", BROKEN)
def test_the_kit_catches(complaint):
    found = [str(finding) for finding in check_method(broken(**BROKEN[complaint])) if finding.failed]
    assert any(complaint in line for line in found), found


def test_a_name_that_makes_another_method_is_caught():
    class Impostor(Good):
        __doc__ = Good.__doc__
        name: ClassVar[str] = "random"
        source_hash: ClassVar[str] = ""

    assert any("builds another method" in finding.detail for finding in check_method(Impostor()))
    Impostor.name = "nobody"
    assert any("no method named 'nobody'" in finding.detail for finding in check_method(Impostor()))


def test_steps_of_an_attribution():
    values = torch.tensor([[[1.0, -2.0], [0.0, 3.0]]])
    assert Attribution(values, signed=True).steps.tolist() == [[-1, 3]]
    assert Attribution(values, signed=False).steps.tolist() == [[-1, 3]]
    assert Attribution(values[..., 0], signed=True).steps.equal(values[..., 0])
