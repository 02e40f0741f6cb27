"""What things cost beside each other: ``tox -e bench``. Nothing is asserted of time; ratios are read off one table.

Groups are compared within themselves: the plain forward of the same batch is in each.
"""

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients

from xrnnbench.harness.execution.guard.limits import Limits
from xrnnbench.harness.execution.guard.plugin_call import PluginCall
from xrnnbench.methods.gradient.gradients import IntegratedGradients
from xrnnbench.methods.propagation.deeplift import CaptumDeepLift, DeepLift
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.variants import Given
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

pytestmark = [pytest.mark.full, pytest.mark.no_cover]  # see pyproject.toml

ROWS, STEPS, FEATURES, UNITS = 128, 50, 64, 128


def make_subject(cell, rows=ROWS):
    torch.manual_seed(0)
    model = RecurrentNet(FEATURES, UNITS, 2, cell=cell)
    inputs = torch.randn(rows, STEPS, FEATURES)
    batch = Batch(inputs, torch.full((rows,), STEPS), torch.zeros(rows, dtype=torch.int64))
    return Subject(model, batch, torch.zeros_like(inputs)).check()


def forward(subject):
    with torch.no_grad():
        return subject.model(subject.batch.inputs, subject.batch.lengths)


def captum_ig(subject):
    lengths, target = subject.batch.lengths, subject.target

    def score(x):
        times = len(x) // len(lengths)
        return subject.model(x, lengths.repeat(times)).gather(1, target.repeat(times)[:, None]).squeeze(1)

    return CaptumIntegratedGradients(score).attribute(subject.batch.inputs, subject.reference, n_steps=50)


CONTESTANTS = {
    "plain forward": forward,
    "deeplift": lambda subject: DeepLift().explain(subject),
    "captum deeplift": lambda subject: CaptumDeepLift().explain(subject),
    "integrated gradients, 50 nodes": lambda subject: IntegratedGradients(steps=50).explain(subject),
    "captum integrated gradients, 50 nodes": captum_ig,
}


@pytest.mark.parametrize("who", CONTESTANTS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_explaining_a_batch(benchmark, cell, who):
    benchmark.group = f"explain {ROWS} sequences of {STEPS} steps, {cell} of {UNITS} units"
    subject = make_subject(cell)
    found = benchmark.pedantic(CONTESTANTS[who], (subject,), rounds=3 if "captum int" in who else 9, warmup_rounds=1)
    assert found is not None


@pytest.mark.parametrize("rows", [1, 32, 128, 256, 512, 1024, 2048])
def test_size_of_a_batch(benchmark, rows):
    """Behind the rule for batch sizes in xrnnbench.tasks.engine.batching: time per sequence, by batch size."""
    benchmark.group = f"one forward, lstm of {UNITS} units, by batch size (divide by rows)"
    subject = make_subject("lstm", rows)
    benchmark.extra_info["rows"] = rows
    assert benchmark.pedantic(forward, (subject,), rounds=5, warmup_rounds=1).shape == (rows, 2)


@pytest.mark.parametrize("who", ["subject", "plain loop at its batch size"])
def test_asking_through_the_subject(benchmark, who):
    """What counting, de-duplication and isolation add to the forward passes of 4096 different sequences."""
    benchmark.group = "4096 different sequences, lstm"
    subject = make_subject("lstm")
    inputs = torch.randn(4096, STEPS, FEATURES)
    variants = Given(inputs, torch.arange(4096) % ROWS)

    def plain():
        with torch.no_grad():
            return torch.cat([subject.model(part) for part in inputs.split(512)])

    run = plain if who != "subject" else lambda: subject.outputs(variants)
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1).shape == (4096, 2)


@pytest.mark.benchmark(group="guard of a plug-in")
@pytest.mark.parametrize("name", ["alone", "guarded"])
def test_a_call_of_a_plugin(benchmark, name):
    def guarded():
        with PluginCall("Method 'it'", Limits(3600, 1 << 60)):
            return int("7")

    assert benchmark(guarded if name == "guarded" else lambda: int("7")) == 7
