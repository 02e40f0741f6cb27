"""What sharing inside a module's recurrent layers saves: ``python tests/benchmarks/layer_sharing.py [CELL ...]``.

Prints a row for each model: processor time of single occlusions, of nested deletions and of different rows, each ÷ that
of plain batches of the same model, in alternating calls; captum's occlusion ÷ ours; and the greatest difference of a
score from plain batches in float64. A model whose ``shared_directions`` is 0 is run in plain batches. The tables of
docs/engine.md are made by it, with one thread.
"""

import sys
import time

import torch
from captum.attr import Occlusion
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.variants import Given, Masked
from xrnnbench.tasks.subject import Subject

SEQUENCES, FEATURES, ROUNDS = 16, 16, 2
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
# layers, directions, whether packed, units, steps
SHAPES = [
    (1, 1, False, 32, 100), (1, 1, False, 128, 20), (1, 1, False, 128, 100), (1, 1, False, 128, 400),
    (1, 1, False, 256, 20), (1, 1, False, 256, 100), (1, 1, True, 32, 100), (1, 1, True, 128, 100),
    (1, 2, False, 128, 100), (1, 2, True, 128, 100), (2, 1, False, 32, 100), (2, 1, False, 128, 100),
    (2, 1, True, 128, 100), (2, 2, False, 128, 100), (2, 2, True, 128, 100),
]  # fmt: skip


class Model(nn.Module):
    """Recurrent layers and a linear one, as people write them."""

    def __init__(self, cell, layers, directions, units):
        super().__init__()
        self.layer = cell(FEATURES, units, layers, bidirectional=directions == 2, batch_first=True)
        self.head = nn.Linear(units * directions, 2)


class Padded(Model):
    """Reads the last outputs of both directions."""

    def forward(self, inputs):
        outputs, units = self.layer(inputs)[0], self.layer.hidden_size
        return self.head(torch.cat([outputs[:, -1, :units], outputs[:, 0, units:]], 1))


class Packed(Model):
    """Reads the last states of both directions, of rows of several lengths."""

    def forward(self, inputs, lengths):
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = self.layer(packed)[1]
        state = state[0] if isinstance(state, tuple) else state
        return self.head(torch.cat(list(state[-2 if self.layer.bidirectional else -1 :]), 1))


def make(cell, layers, directions, packed, units, steps, dtype=torch.float32):
    torch.manual_seed(0)
    model = (Packed if packed else Padded)(CELLS[cell], layers, directions, units).to(dtype).eval()
    count = SEQUENCES if steps <= 100 else SEQUENCES // 4
    lengths = torch.randint(steps // 2, steps + 1, (count,)) if packed else torch.full((count,), steps)
    lengths[0] = steps
    inputs = torch.randn(count, steps, FEATURES, dtype=dtype)
    inputs *= (torch.arange(steps) < lengths[:, None])[..., None]
    batch = Batch(inputs, lengths, torch.zeros(count, dtype=torch.int64))
    return Subject(model, batch, torch.zeros_like(inputs), granularity="step")


def variants_of(subject):
    instance, step = subject.batch.valid.nonzero(as_tuple=True)
    steps = torch.arange(subject.batch.inputs.shape[1])
    different = torch.randn(len(instance), *subject.batch.inputs.shape[1:], dtype=subject.batch.inputs.dtype)
    return [
        Masked(steps != step[:, None], instance),
        Masked(steps > step[:, None], instance),
        Given(different, instance),
    ]


def least(*calls, rounds=ROUNDS):
    """The least processor time of each of some functions, called in turns."""
    found = [float("inf")] * len(calls)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            begun = time.process_time()
            call()
            found[place] = min(found[place], time.process_time() - begun)
    return found


def plain(subject):
    """A function that asks the subject, with its model run in plain batches."""

    def outputs(variants):
        subject.model.shared_directions = 0
        try:
            return subject.outputs(variants)
        finally:
            del subject.model.shared_directions

    return outputs


def captum(subject):
    """captum's occlusion of the same steps, eight perturbations in a batch."""
    told = (subject.batch.lengths,) if isinstance(subject.model, Packed) else ()
    target = subject.target

    def score(inputs, *lengths):
        rows = len(inputs) // len(target)
        lengths = [length.repeat(rows) if len(length) < len(inputs) else length for length in lengths]
        return subject.model(inputs, *lengths).gather(1, target.repeat(rows)[:, None]).squeeze(1)

    with torch.no_grad():
        Occlusion(score).attribute(
            subject.batch.inputs, (1, FEATURES), baselines=subject.reference, perturbations_per_eval=8,
            additional_forward_args=told,
        )  # fmt: skip


def measured(cell, shape):
    """Ratios to plain batches, ratio of captum to ours, share of steps, difference in float64."""
    subject = make(cell, *shape)
    ratios = []
    for variants in variants_of(subject):
        ours, theirs = least(lambda v=variants: subject.outputs(v), lambda v=variants: plain(subject)(v))
        ratios.append(ours / theirs)
    before = subject.cost.copy()
    subject.outputs(variants_of(subject)[0])
    shared = subject.cost.since(before).steps
    plain(subject)(variants_of(subject)[0])
    whole = subject.cost.since(before).steps - shared
    method = build("method", "occlusion")
    ours, theirs = least(lambda: method.explain(subject), lambda: captum(subject), rounds=1)
    exact = make(cell, *shape, torch.float64)
    few = exact.select(slice(0, -(-(1 << 21) // (shape[-1] ** 2 * shape[-2]))))
    gap = max(float((few.outputs(v) - plain(few)(v)).abs().max()) for v in variants_of(few)[:2])
    return (*ratios, shared / whole, theirs / ours, gap)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| model | steps left | occlusion | nested | different rows | captum | differs by |")  # noqa: T201  # its output
    print("|---|---|---|---|---|---|---|")  # noqa: T201  # its output
    for cell in sys.argv[1:] or CELLS:
        for layers, directions, packed, units, steps in SHAPES:
            occlusion, nested, different, left, peer, gap = measured(cell, (layers, directions, packed, units, steps))
            name = f"{cell}, H {units}, T {steps}" + (", 2 layers" if layers == 2 else "")
            name += (", both directions" if directions == 2 else "") + (", packed" if packed else "")
            row = f"{left:.2f} | {occlusion:.2f} | {nested:.2f} | {different:.2f} | {peer:.1f} | {gap:.0e}"
            print(f"| {name} | {row} |", flush=True)  # noqa: T201  # its output


if __name__ == "__main__":
    main()
