"""What asking through the subject costs beside the passes themselves: ``tox -e bench``.

Each group holds the plain forward of batches of several sizes, so that ratios can be read off one table. Machines being
seldom quiet, ``extra_info`` also has the engine's efficiency from calls that alternate with the forward: the least time
of the engine ÷ (different sequences × the least time of a sequence at any batch size). Only counts are asserted: cell
steps are exact.
"""

import resource
import subprocess
import sys
import time

import pytest
import torch

from xrnnbench.methods.perturbation.single_features import OneChanged
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.variants import Given, Masked, Ranked
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

pytestmark = [pytest.mark.full, pytest.mark.no_cover]  # see pyproject.toml

ROWS, STEPS, FEATURES, UNITS = 64, 50, 64, 128
SIZES = (64, 128, 256, 512, 1024, 2048)
ROUNDS = 3
# As a test, once and of few: what is asserted are counts, which are of any number of sequences.
FEW = 8
MODELS = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "gru, mean": {"cell": "gru", "pooling": "mean"},
    "lstm, attention": {"cell": "lstm", "pooling": "attention"},
    "bidirectional lstm": {"cell": "lstm", "bidirectional": True},
    "bidirectional lstm, attention": {"cell": "lstm", "bidirectional": True, "pooling": "attention"},
}
WHAT = ("single occlusions", "deletions, one by one", "deletions", "deletions, also kept")


class Deaf(torch.nn.Module):
    """A user's module, of which nothing is known."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(inputs)


def make(name, rows=ROWS):
    torch.manual_seed(0)
    model = RecurrentNet(FEATURES, UNITS, 2, **MODELS[name.removeprefix("user's ")]).eval()
    inputs = torch.randn(rows, STEPS, FEATURES)
    batch = Batch(inputs, torch.full((rows,), STEPS), torch.zeros(rows, dtype=torch.int64))
    return Subject(Deaf(model) if name.startswith("user's") else model, batch, torch.zeros_like(inputs)).check()


def ranked(rows, points=20, *, also_kept=False):
    """Deletion curves of so many removals along random orders of the steps."""
    ranks = torch.rand(rows, STEPS, generator=torch.Generator().manual_seed(0)).argsort(1)
    counts = (torch.arange(points + 1) * STEPS / points).ceil().long().expand(rows, points + 1)
    keep = torch.arange((points + 1) * (1 + also_kept)) > points
    return Ranked(ranks, torch.arange(rows), counts.repeat(1, 1 + also_kept), keep)


def variants_of(name, rows):
    rng = torch.Generator().manual_seed(1)
    instance = torch.arange(rows).repeat_interleave(STEPS)
    if name == "single occlusions":
        return OneChanged(instance, torch.arange(STEPS).repeat(rows), 1)
    if name == "random half masks":
        return Masked(torch.rand(rows * STEPS, STEPS, generator=rng) < 0.5, instance)
    if name == "different rows":
        return Given(torch.randn(rows * STEPS, STEPS, FEATURES, generator=rng), instance)
    return ranked(rows, STEPS if name == "deletions, one by one" else 20, also_kept=name == "deletions, also kept")


def sequence_time(subject, sizes=SIZES):
    """The least seconds of one sequence in a plain forward, at the best size of a batch."""
    inputs = torch.randn(max(sizes), STEPS, FEATURES)
    found = []
    with torch.no_grad():
        for size in sizes:
            begun = time.perf_counter()
            subject.model(inputs[:size])
            found.append((time.perf_counter() - begun) / size)
    return min(found)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        *((model, what) for model in MODELS for what in WHAT),
        *((model, what) for model in ("lstm", "gru", "rnn") for what in ("random half masks", "different rows")),
        ("user's lstm", "single occlusions"),
        ("user's lstm", "random half masks"),
    ],
)
def test_efficiency(benchmark, model, what):
    """Time ÷ (different sequences × time of one at the best batch size); below 1 where something is shared."""
    benchmark.group = f"{model}: {ROWS} sequences of {STEPS} steps, {UNITS} units"
    rows, rounds, sizes = (FEW, 1, SIZES[:1]) if benchmark.disabled else (ROWS, ROUNDS, SIZES)
    subject, variants = make(model, rows), variants_of(what, rows)
    floors, times = [sequence_time(subject, sizes)], []
    for _ in range(rounds):
        before, begun = subject.cost.copy(), time.perf_counter()
        subject.outputs(variants)
        times.append(time.perf_counter() - begun)
        floors.append(sequence_time(subject, sizes))
    spent = subject.cost.since(before)
    benchmark.extra_info["efficiency"] = round(min(times) / (spent.executed * min(floors)), 3)
    benchmark.extra_info["cell steps left"] = round(spent.steps / (spent.executed * STEPS), 3)
    benchmark.extra_info["different sequences"] = spent.executed
    assert spent.steps <= spent.executed * STEPS
    if what == "single occlusions" and not model.startswith("user's"):
        # at step t a sequence has t + 1 beginnings: itself, and one for each step before
        assert spent.steps < 0.54 * spent.executed * STEPS
    assert benchmark.pedantic(subject.outputs, (variants,), rounds=ROUNDS).shape == (len(variants.instance), 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", MODELS)
def test_plain_forward(benchmark, model, size):
    """What a batch costs: divide by its size."""
    benchmark.group = f"{model}: {ROWS} sequences of {STEPS} steps, {UNITS} units"
    subject, inputs = make(model), torch.randn(size, STEPS, FEATURES)
    benchmark.extra_info["rows"] = size
    with torch.no_grad():
        assert benchmark.pedantic(subject.model, (inputs,), rounds=ROUNDS, warmup_rounds=1).shape == (size, 2)


def peak(instances, points, steps, features, units):
    """Peak memory of this process in MiB after deletion curves of so many points, and the seconds they took."""
    torch.manual_seed(0)
    model = RecurrentNet(features, units, 2)
    for count in (20, instances):  # the first to have everything loaded
        inputs = torch.randn(count, steps, features)
        batch = Batch(inputs, torch.full((count,), steps), torch.zeros(count, dtype=torch.int64))
        subject = Subject(model, batch, torch.zeros_like(inputs))
        counts = torch.linspace(0, steps, points).long().expand(count, points)
        ranks = torch.rand(count, steps).argsort(1).to(torch.int16)
        variants = Ranked(ranks, torch.arange(count), counts, torch.zeros(points, dtype=torch.bool))
        begun = time.perf_counter()
        subject.outputs(variants)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - begun


@pytest.mark.parametrize(
    ("instances", "points", "steps", "features", "units"),
    [
        *((instances, 20, 15, 4, 32) for instances in (100, 1000, 10000)),
        *((10, points, 50, 4, 128) for points in (100, 1000, 10000)),
        (2, 21, 2000, 100, 64),
    ],
)
def test_peak_memory(benchmark, instances, points, steps, features, units):
    """Peak of a process of its own, as instances and points grow: ``extra_info``."""
    benchmark.group = "peak memory, one process each"
    sizes = (instances, points, steps, features, units)
    code = f"import test_engine; print(*test_engine.peak{sizes})"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(__file__).rsplit('/', 1)[0]!r}); {code}"]
    found = benchmark.pedantic(subprocess.check_output, (command,), rounds=1)
    benchmark.extra_info["peak MiB"], benchmark.extra_info["seconds"] = map(float, found.split())
    assert benchmark.extra_info["peak MiB"] > 0
