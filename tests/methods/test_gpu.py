"""Models on a GPU: every method says of them what it says of the same model on the CPU. Skipped where there is none."""

import copy
from dataclasses import replace

import pytest
import torch

from xrnnbench.methods.conformance import specimens
from xrnnbench.metrics.conformance.specimens import evidence
from xrnnbench.plugins import build, names

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

# small budgets: the device is tried here, not the method
SMALL = {
    "dynamask": "dynamask:iterations=20", "extremal-mask": "extremal-mask:iterations=20", "greedy": "greedy:budget=40",
    "kernel-shap": "kernel-shap:samples=40", "lime": "lime:samples=60", "lime-recurrent": "lime-recurrent:samples=60",
    "lime-text": "lime-text:samples=60",
}  # fmt: skip
# Those that descend by many steps, each of which rounds.
DESCENDING = {"dynamask", "extremal-mask"}
METRICS = (
    "normalised-deletion", "comprehensiveness:by=mean", "sufficiency", "explained-effect", "infidelity",
    "sensitivity-n", "faithfulness-estimate", "max-sensitivity:samples=2", "parameter-randomisation",
)  # fmt: skip
SUBJECTS = {kind: subject for kind, subject in specimens() if any(True for _ in subject.model.parameters())}


def on_gpu(subject):
    return replace(subject, model=copy.deepcopy(subject.model).cuda())


@pytest.mark.parametrize("kind", SUBJECTS)
@pytest.mark.parametrize("name", names("method"))
def test_a_method_gives_what_it_gives_on_the_cpu(name, kind):
    method, subject = build("method", SMALL.get(name, name)), SUBJECTS[kind]
    if reason := method.applicable(subject):
        pytest.skip(reason)
    here, there = (method.explain(each).values for each in (subject, on_gpu(subject)))
    assert there.device.type == "cpu"
    off = float((here - there).abs().max() / here.abs().max().clamp_min(1e-12))
    assert off < (1e-2 if name in DESCENDING else 2e-4)


@pytest.mark.parametrize("kind", SUBJECTS)
@pytest.mark.parametrize("spec", METRICS)
def test_a_metric_gives_what_it_gives_on_the_cpu(spec, kind):
    metric, method, subject = build("metric", spec), build("method", "gradient-x-input"), SUBJECTS[kind]
    if reason := metric.applicable(method, subject):
        pytest.skip(reason)
    here, there = (metric.measure(evidence(each, method)) for each in (subject, on_gpu(subject)))
    assert torch.allclose(here, there, atol=1e-4, equal_nan=True)
