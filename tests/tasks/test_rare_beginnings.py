"""The white box of squares is asked about beginnings, which FIT, temporal IG and WinIT need, and not about gaps."""

import pytest
import torch

from xrnnbench.plugins import build
from xrnnbench.tasks.interventions.base import intervention

TASKS = ("rare-feature:instances=3", "rare-time:instances=3")


@pytest.mark.parametrize("name", TASKS)
def test_a_beginning_is_the_sum_over_its_part_of_the_region(name):
    subject = build("task", name).subject(0)
    inputs, region = subject.batch.inputs, subject.batch.context["region"]
    for steps in (1, 14, 50):
        found = subject.model(inputs[:, :steps], region=region)
        literal = torch.stack(
            [
                sum(
                    (inputs[i, t, d].double() ** 2 for t in range(steps) for d in range(50) if region[i, t, d]),
                    torch.zeros(()),
                )
                for i in range(3)
            ]
        )
        assert torch.allclose(found[:, 0].double(), literal.double(), rtol=1e-5)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("method", ["temporal-ig", "fit:samples=2", "winit:samples=2"])
@pytest.mark.full
def test_methods_that_ask_after_each_step_find_the_region(name, method):
    subject = build("task", name).subject(0)
    values = build("method", method).explain(subject, 0).values
    inside = subject.batch.truths["region"].values > 0
    assert values[inside].abs().mean() > 1.5 * values[~inside].abs().mean()


@pytest.mark.parametrize("name", TASKS)
def test_temporal_ig_is_exact_on_an_additive_model(name):
    subject = build("task", name).subject(0)
    values = build("method", "temporal-ig").explain(subject, 0).values
    assert torch.allclose(values, subject.batch.truth.values, atol=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_steps_cannot_be_taken_out(name):
    subject = build("task", name).subject(0)
    assert "would not move up with the steps" in intervention("delete").unfit(subject)
    metric, method = build("metric", "comprehensiveness:by=delete"), build("method", "random")
    assert metric.applicable(method, subject)


def test_steps_are_taken_out_where_the_context_is_something_else():
    task = build("task", "dates:instances=3")
    batch = task.data().explained
    assert batch.context
    stand_in = type("StandIn", (), {"batch": batch, "adapter": None})()
    assert not intervention("delete").unfit(stand_in)
