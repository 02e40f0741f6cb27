"""The contract of a subject: each promise broken on purpose, named with its figure, its sequence and the way out."""

import dataclasses
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xrnnbench import AssumptionWarning, Batch, ContractError, DataError, Subject, Task, explain, inspect
from xrnnbench.harness.execution.steps.build_model import build_model
from xrnnbench.tasks.contract import check_contract
from xrnnbench.tasks.models.networks import AttentionRNN, RecurrentNet

ROWS, STEPS = 12, 7
LENGTHS = torch.tensor([7, 3, 5, 2, 7, 1, 6, 4, 7, 2, 3, 5])


def inputs(seed=0):
    x = torch.randn(ROWS, STEPS, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * (torch.arange(STEPS) < LENGTHS[:, None])[..., None]


class Net(nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.GRU(3, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 2)
        self.double().eval()

    def last(self, x, lengths):
        return self.rnn(x)[0][torch.arange(len(x)), lengths - 1]

    def forward(self, x, lengths):
        return self.head(self.last(x, lengths))


class ReadsPadding(Net):
    def __init__(self):
        super().__init__(bidirectional=True)


class ReadsWhatIsInThePadding(Net):
    def forward(self, x, lengths):
        return super().forward(x, lengths) + (x[:, -1] if x.shape[1] == STEPS else 0 * x[:, -1]).sum(1, keepdim=True)


class Dropout(Net):
    def forward(self, x, lengths):
        return self.head(F.dropout(self.last(x, lengths), 0.5, training=True))


class Draws(Net):
    def forward(self, x, lengths):
        return torch.distributions.Normal(super().forward(x, lengths), 1.0).rsample()


class NumpyDraws(Net):
    def forward(self, x, lengths):
        return super().forward(x, lengths) + float(np.random.default_rng().normal())


class BatchMean(Net):
    def forward(self, x, lengths):
        hidden = self.last(x, lengths)
        return self.head(hidden - hidden.mean(0))


class BatchNormAlways(Net):
    def forward(self, x, lengths):
        return self.head(F.batch_norm(self.last(x, lengths), None, None, training=True))


class ForgottenBatchFirst(Net):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 5).double()


class NotPutBack(Net):
    """It sorts its sequences by length, and forgets to put them back; its batch comes sorted here."""

    def forward(self, x, lengths):
        order = lengths.argsort()
        return super().forward(x[order], lengths[order])


class State(Net):
    """It adds its last scores, kept where no attribute shows them."""

    def __init__(self):
        super().__init__()
        kept = [0.0]
        self.read, self.write = (lambda: kept[0]), (lambda value: kept.__setitem__(0, value))

    def forward(self, x, lengths):
        scores = super().forward(x, lengths)
        shown = scores + self.read()
        self.write(float(scores.detach().mean()))
        return shown


BROKEN = {
    "padding": (ReadsPadding, "reads the padding beyond the length of sequence", "padding='keep'"),
    "content": (ReadsWhatIsInThePadding, "reads the padding beyond the length of sequence", "padding='keep'"),
    "dropout": (Dropout, "another score when it is run again on the same sequences", "switch off what it draws"),
    "sampling": (Draws, "another score when it is run again on the same sequences", "the mean that it draws from"),
    "numpy": (NumpyDraws, "another score when it is run again", "switch off what it draws"),
    "state": (State, "another score when it is run again", "what it keeps from call to call"),
    "mean": (BatchMean, "another score alone than in a batch", "what mixes the sequences of a batch"),
    "batch norm": (BatchNormAlways, "another score alone than in a batch", "batch statistics"),
    "batch_first": (ForgottenBatchFirst, "another score alone", "say batch_first=False"),
    "order": (NotPutBack, "another score at another place of the batch", "sorted and not put back"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_promise_is_refused_before_anything_is_computed(kind):
    make, fault, way_out = BROKEN[kind]
    model = make()
    if kind == "batch norm":
        torch.manual_seed(1)
    with pytest.raises(DataError) as caught:
        explain(model, inputs(), LENGTHS, method="occlusion")
    message = str(caught.value)
    assert fault in message
    assert way_out in message
    assert "contract='explain'" in message
    assert "\n" not in message
    assert re.search(r"sequence \d+", message)
    assert re.search(r"% of the spread of its scores", message)
    with pytest.raises(DataError, match="task 'my-model'"):
        Task.from_model(model, inputs(), LENGTHS, torch.zeros(ROWS, dtype=torch.int64))


def test_the_figure_is_that_of_the_sequence_it_names():
    model, x = ReadsPadding(), inputs()
    with torch.no_grad():
        padded = model(x, LENGTHS)
        alone = torch.cat([model(x[[row], : int(n)], LENGTHS[[row]]) for row, n in enumerate(LENGTHS)])
    gap = (padded - alone).abs().amax(1)
    broken = inspect(model, x, LENGTHS).contract.broken
    assert [promise.name for promise in broken] == ["padding ignored"]
    assert broken[0].difference == pytest.approx(float(gap[broken[0].sequence]), rel=1e-9)
    assert broken[0].difference > 0.1 * float(gap.max())


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_promise_may_be_explained_all_the_same_and_is_shown(kind):
    model = BROKEN[kind][0]()
    found = explain(model, inputs(), LENGTHS, method="recency", contract="explain")
    assert found.values.isfinite().all()
    shown = inspect(model, inputs(), LENGTHS)
    assert not shown.kept
    assert BROKEN[kind][1] in str(shown)
    classes = torch.zeros(ROWS, dtype=torch.int64)
    task = Task.from_model(model, inputs(), LENGTHS, classes, contract="explain")
    assert any(BROKEN[kind][1] in caveat for caveat in task.subject(0).caveats)


def test_models_that_keep_their_promises():
    for model in (Net(), RecurrentNet(3, 4, 2).double(), AttentionRNN(3, 4, 2).double()):
        shown = inspect(model, inputs(), LENGTHS)
        assert shown.kept
        assert all(promise.kept for promise in shown.contract.promises)
        assert "NO" not in str(shown)


def test_the_tolerance_is_a_share_of_the_spread_and_may_be_set():
    class Nearly(Net):
        def forward(self, x, lengths):
            return super().forward(x, lengths) + 1e-5 * x.shape[1]

    for factor in (1.0, 1e6):  # the unit of the scores is of no account
        model = Nearly()
        model.head.weight.data *= factor
        model.head.bias.data *= factor
        tight, loose = ({"contract_tolerance": tolerance} for tolerance in (1e-7, 1e-2))
        assert inspect(model, inputs(), LENGTHS, **loose).kept
        assert inspect(model, inputs(), LENGTHS, **tight).kept is (factor > 1)


def test_at_most_eight_sequences_are_run_and_not_counted():
    calls = []

    class Counting(Net):
        def forward(self, x, lengths):
            calls.append(len(x))
            return super().forward(x, lengths)

    subject = Subject(Counting(), Batch(inputs(), LENGTHS, torch.zeros(ROWS).long()), 0 * inputs()).check()
    before = subject.cost.copy()
    calls.clear()
    contract = check_contract(subject)
    assert contract.kept
    assert subject.cost == before
    assert contract.sequences == 8
    # twice together, the references, each alone, another order, other padding
    assert sum(calls) == contract.rows == 8 * 6
    assert max(calls) == 8


def test_one_sequence_without_padding_breaks_little():
    x, lengths = inputs()[:1], LENGTHS[:1]
    names = {promise.name: promise.kept for promise in inspect(Net(), x, lengths).contract.promises}
    assert names == {
        "deterministic": True, "rows apart": True, "any order": True, "padding ignored": None, "no state kept": True
    }  # fmt: skip


class SoftmaxOverBatch(Net):
    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1]).softmax(0)


class SeededDropout(Net):
    def forward(self, x):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.head(F.dropout(self.rnn(x)[0][:, -1], 0.5, training=True))


class OnlyBatch(ForgottenBatchFirst):
    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("make", [SoftmaxOverBatch, SeededDropout, OnlyBatch])
def test_a_single_sequence_is_run_in_company(make):
    """Methods run its variants together, so what mixes the rows of a batch matters for one sequence too."""
    with pytest.raises(DataError, match=r"another score (alone|at another place)"):
        explain(make(), inputs()[:1], method="occlusion")


def test_a_single_padded_sequence_is_run_at_the_width_it_was_given():
    with pytest.raises(DataError, match="reads the padding"):
        explain(ReadsPadding(), inputs()[1:2], LENGTHS[1:2], method="occlusion")


def test_plain_functions_are_held_to_the_contract():
    weights = np.random.default_rng(0).normal(size=(3, 2))

    def centred(x):
        return x.mean(1) @ weights - (x.mean(1) @ weights).mean(0)

    with pytest.raises(DataError, match=r"centred gives sequence \d+ another score alone than in a batch"):
        explain(centred, inputs().numpy(), method="occlusion")

    def noisy(x, lengths):
        return x.mean(1) @ weights + np.random.default_rng().normal(size=(len(x), 2))

    with pytest.raises(DataError, match="noisy gives another score"):
        explain(noisy, inputs().numpy(), LENGTHS.numpy(), method="occlusion")

    def single(x):  # computes in single precision, as most libraries do
        return np.tanh(x.astype(np.float32).mean(1) @ weights.astype(np.float32)).astype(np.float64)

    assert explain(single, inputs().numpy(), method="occlusion").values.any()


def test_each_output_is_held_to_its_own_spread():
    class TwoUnits(Net):
        def forward(self, x, lengths):
            own = torch.arange(x.shape[1]) < lengths[:, None]
            total = (x * own[..., None]).sum((1, 2))
            return torch.stack([1e6 * total, total + 0.01 * torch.randn(len(x))], 1)

    with pytest.raises(DataError, match="another score when it is run again"):
        explain(TwoUnits(), inputs(), LENGTHS, method="occlusion", outputs="values", target=1)


def test_shorter_variants_of_full_sequences_see_no_padding():
    """The data have no padding, but methods that ask about beginnings make some."""

    class Shifted(ReadsPadding):
        def __init__(self, shift):
            super().__init__()
            self.shift = shift

        def forward(self, x, lengths):
            return super().forward(x, lengths) + self.shift

    x = torch.randn(5, STEPS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    full = torch.full((5,), STEPS)
    shown = inspect(Shifted(0.0), x, full)
    assert "given sequences of one length at a time, so that it never sees padding" in shown.call
    options = {"method": "fit", "background": x, "target": 0}
    found = [explain(Shifted(shift), x, full, **options).values for shift in (0.0, 1e3)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-8)
    model = Shifted(0.0)
    deleted = explain(model, x, full, method="occlusion:by=delete", target=0).values
    with torch.no_grad():
        alone = [
            model(x[[0]][:, [s for s in range(STEPS) if s != step]], torch.tensor([STEPS - 1])) for step in range(STEPS)
        ]
        change = model(x[:1], full[:1])[0, 0] - torch.stack(alone)[:, 0, 0]
    shown = deleted[0] if deleted.dim() == 2 else deleted[0].sum(1)
    torch.testing.assert_close(shown, change, rtol=0, atol=1e-12)


def test_attention_of_sorted_sequences():
    class Sorted(Net):
        def forward_with_attention(self, x, lengths):
            assert (lengths.diff() <= 0).all(), "lengths must be sorted"
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            out, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])
            own = torch.arange(x.shape[1]) < lengths[:, None]
            weights = out.sum(2).masked_fill(~own, -torch.inf).softmax(1)
            return self.head((weights[..., None] * out).sum(1)), weights

        def forward(self, x, lengths):
            return self.forward_with_attention(x, lengths)[0]

    model, order = Sorted(), LENGTHS.argsort(descending=True)
    found = explain(model, inputs(), LENGTHS, method="attention").values
    torch.testing.assert_close(found[order], model.forward_with_attention(inputs()[order], LENGTHS[order])[1].detach())


def test_attention_that_cannot_be_read_is_shown_and_stops_no_other_method():
    class Short(Net):
        def forward_with_attention(self, x):
            return self.head(self.rnn(x)[0][:, -1]), x

    with pytest.warns(AssumptionWarning, match="Short cannot take the inputs"):
        assert explain(Short(), inputs(), LENGTHS, method="occlusion").values.any()
    promise = inspect(Short(), inputs(), LENGTHS).contract.promises[-1]
    assert promise.name == "attention sums to 1"
    assert promise.kept is False
    assert "takes" in promise.detail


def test_every_forward_pass_of_the_check_is_in_its_figure():
    calls = []

    class Attending(AttentionRNN):
        def forward(self, x, lengths=None):
            calls.append(len(x))
            return super().forward(x, lengths)

        def forward_with_attention(self, x, lengths):
            calls.append(len(x))
            return super().forward_with_attention(x, lengths)

    subject = Subject(
        Attending(3, 4, 2).double(), Batch(inputs(), LENGTHS, torch.zeros(ROWS).long()), 0 * inputs()
    ).check()
    calls.clear()
    assert check_contract(subject).rows == sum(calls)


@dataclasses.dataclass(frozen=True)
class Own(Task):
    """A task in a user's file."""

    def subject(self, seed):
        batch = Batch(inputs(), LENGTHS, torch.zeros(ROWS).long())
        return Subject(ReadsPadding(), batch, 0 * inputs(), label="task 'own'")


class OwnAllTheSame(Own):
    contract = "explain"


def test_a_task_of_a_users_file_is_held_to_it_when_its_model_is_built():
    with pytest.raises(DataError, match="task 'own' reads the padding beyond the length of sequence"):
        build_model(Own(), 0)
    model = build_model(OwnAllTheSame(), 0)
    assert len(model.subject.caveats) == 1
    assert "reads the padding" in model.subject.caveats[0]
    with pytest.raises(ContractError, match="has contract = 'refused': set it to 'refuse', or to 'explain'"):
        build_model(type("Wrong", (Own,), {"contract": "refused"})(), 0)
    with pytest.raises(DataError) as caught:
        build_model(Own(), 0)
    assert "padding='keep'" not in str(caught.value)  # a task takes no such option
    assert "set contract = 'explain' in the task's class" in str(caught.value)
