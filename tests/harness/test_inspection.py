"""Inspection of a model, in Python and on the command line; caveats on the board."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from xrnnbench import Benchmark, Explainer, Task, build, explain, inspect, names, plugins, read_results
from xrnnbench.errors import CompletenessWarning, DataError, UsageError, XrnnbenchWarning
from xrnnbench.harness.gate.gate import bless

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.LSTM(2, 4, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, outputs)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        state = self.rnn(packed)[1][0]
        return self.head(torch.cat([state[0], state[1]], 1)).squeeze()

class Padded(Net):
    def __init__(self):
        super().__init__(3)

    def forward(self, x, lengths):
        return self.head(self.rnn(x)[0].mean(1))

class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(2, 4), nn.Linear(4, 3)

    def forward(self, x, hidden):
        out = self.rnn(x, hidden)[0]
        weights = out.sum(2).softmax(0)
        return (self.head((weights[..., None] * out).sum(0)), weights)

net, padded, attending = Net(), Padded(), Attending()
"""


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS, encoding="utf-8")
    rng = np.random.default_rng(0)
    lengths = np.array([6, 3, 5, 2])
    x = rng.normal(size=(4, 6, 2)).astype(np.float32) * (np.arange(6) < lengths[:, None])[..., None]
    np.savez(tmp_path / "x.npz", inputs=x, lengths=lengths, targets=[0, 1, 1, 0])
    np.savez(tmp_path / "time.npz", inputs=x.transpose(1, 0, 2))
    return path


class Balanced(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_inspect_on_the_command_line(nets, tmp_path, invoke):
    status, out, err = invoke("inspect", f"{nets}:net", "--data", tmp_path / "x.npz")
    assert (status, err) == (0, "")
    assert out.startswith("Net: 4 sequences of 2 to 6 steps of 2 features\n")
    assert "called as Net.forward(x, lengths)" in out
    assert "in the order of falling length" in out
    assert "read as the logit of class 1 of two; say outputs='values'" in out
    assert "outputs: binary-logit" in out
    assert len(re.findall(r"^  yes ", out, re.MULTILINE)) == 5
    applies = re.search(r"Methods that apply.*\n  (.*)", out).group(1).split(", ")
    assert {"deeplift", "lrp", "occlusion", "permutation-importance"} <= set(applies)
    # other tests of the same process may have loaded methods from files
    assert re.search(
        r"attention, attention-gradient, attention-norm, attention-permuted.*: the model shows no att", out
    )


def test_a_broken_promise_is_status_1_and_is_shown_on_the_page(nets, tmp_path, invoke):
    words = ("inspect", f"{nets}:padded", "--data", tmp_path / "x.npz")
    status, out, err = invoke(*words, "--html", tmp_path / "page.html")
    assert (status, err) == (1, "")
    assert "  NO  padding ignored  Padded reads the padding beyond the length of sequence" in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert not [tag for tag in parser.open if tag not in {"html", "body"}]
    assert '<tr class="broken"><th scope="row">padding ignored</th><td>broken</td>' in page
    assert "page.html" in out
    assert invoke(*words, "--padding", "keep")[0] == 0
    assert invoke(*words, "--html", tmp_path / "no" / "page.html")[0] == 2


def test_inspect_as_json(nets, tmp_path, invoke):
    words = ("inspect", f"{nets}:attending", "--data", tmp_path / "time.npz", "--part", 0, "--time-first", "--json")
    status, out, err = invoke(*words)
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["data"] == "4 sequences of 6 steps of 2 features"
    assert "the hidden state hidden starts as zeros" in found["call"]
    assert "the part 1 of what it returns holds its attention weights" in found["call"]
    assert found["kept"]
    assert found["forward_passes"] > 0
    assert {promise["name"]: promise["kept"] for promise in found["promises"]}["attention sums to 1"] is True
    assert found["methods"]["attention"] == ""
    status, out, _ = invoke("explain", *words[1:-1], "-m", "attention")
    assert status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inspect", "{nets}:padded"), "is a model: give it sequences with --data file.npz"),
        (("inspect", "{nets}:nothing", "--data", "{tmp}/x.npz"), "has no 'nothing'"),
        (("inspect", "{nets}:net", "--data", "{tmp}/none.npz"), "There is no file"),
        (("inspect", "{nets}:attending", "--data", "{tmp}/time.npz", "--time-first"), "returns a tuple of"),
        (("inspect", "no-such-task"), "no task named 'no-such-task'"),
        (("explain", "{nets}:padded", "--data", "{tmp}/x.npz"), "reads the padding beyond the length"),
        (("explain", "{nets}:net", "--data", "{tmp}/x.npz", "--outputs", "logits"), "say outputs='binary-logit'"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(nets, tmp_path, invoke, words, said):
    status, out, err = invoke(*(str(word).format(nets=nets, tmp=tmp_path) for word in words))
    assert status == 2
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_inspect_a_task(invoke):
    status, out, err = invoke("inspect", "counter:instances=6")
    assert (status, err) == (0, "")
    assert "task 'counter:instances=6'" in out
    assert "oracle" in re.search(r"Methods that apply.*\n  (.*)", out).group(1)


def test_inspect_in_a_notebook():
    class Net(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2)), 1 - x.sum((1, 2))], 1)

    shown = inspect(Net(), torch.randn(3, 4, 2))
    assert str(shown) == repr(shown)
    parser = Balanced()
    parser.feed(shown._repr_html_())
    assert parser.open == []
    assert shown.methods["lime-text"]
    assert set(shown.applicable) == {name for name, reason in shown.methods.items() if not reason}
    assert shown.as_json()["outputs"] == "logits"
    with pytest.raises(DataError, match="no option 'output', did you mean 'outputs'"):
        inspect(Net(), torch.randn(3, 4, 2), output="values")


def test_a_method_that_an_operation_stops_is_listed_with_its_reason():
    class Rounds(nn.Module):
        def forward(self, x):
            total = torch.special.bessel_j0(x).sum((1, 2))
            return torch.stack([total, -total], 1)

    shown = inspect(Rounds(), torch.randn(3, 4, 2))
    assert "has no rule for torch.special.bessel_j0" in shown.methods["deeplift"]
    assert shown.methods["occlusion"] == ""


# ---- the board -----------------------------------------------------------------------------------------------------


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x, lengths):
        steps = torch.arange(x.shape[1]) < lengths[:, None]
        return self.head((self.rnn(x)[0] * steps[..., None]).sum(1))


class Jump(nn.Module):
    def forward(self, x):
        total = x.sum((1, 2))
        return torch.stack([total + 3.0 * (total > 0.31), -total], 1)


def padded(**options):
    lengths = torch.tensor([6, 3, 5, 2])
    x = (
        torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0))
        * (torch.arange(6) < lengths[:, None])[..., None]
    )
    return Task.from_model(Padded(), x, lengths, torch.tensor([0, 1, 2, 0]), name="padded", **options)


def test_the_board_shows_a_promise_that_a_model_breaks(tmp_path):
    task = padded(contract="explain")
    run = Benchmark([task], ["occlusion", "random"], ["sufficiency"]).run(out=tmp_path)
    for file in ("leaderboard.md", "leaderboard.html", "leaderboard.json", "leaderboard.tex"):
        path = next(iter([*tmp_path.rglob(file)]), None)
        if path is not None:
            assert "reads the padding beyond the length of sequence" in " ".join(
                path.read_text(encoding="utf-8").split()
            )
    assert "**Caveat**: task 'padded' reads the padding" in next(tmp_path.rglob("leaderboard.md")).read_text("utf-8")
    # and an archive keeps it
    bless(run, tmp_path / "baseline")
    cells = list(read_results(tmp_path / "baseline").scored_cells.values())
    assert len(cells) == 2
    assert all("reads the padding" in scored.cell.caveats[0] for scored in cells)


def test_the_board_shows_a_method_that_misses_its_completeness(tmp_path):
    x = torch.rand(6, 3, 1, generator=torch.Generator().manual_seed(0)) * 0.9
    task = Task.from_model(Jump(), x, None, torch.zeros(6, dtype=torch.int64), name="jump")
    with pytest.warns(CompletenessWarning, match="'integrated-gradients' on task 'jump'"):
        missed = explain_task(task)
    assert 0 < missed <= 6
    Benchmark([task], ["integrated-gradients", "captum-deeplift", "occlusion"], ["sufficiency"]).run(out=tmp_path)
    board = next(tmp_path.rglob("leaderboard.md")).read_text("utf-8")
    assert (
        f"integrated-gradients claims that its values sum to the difference of the scores, and misses it by more "
        f"than 1 % on {missed} sequences." in board
    )
    assert "captum-deeplift claims" not in board


def explain_task(task):
    return int(build("method", "integrated-gradients").explain(task.subject(0)).incomplete.sum())


def test_a_model_that_keeps_its_promises_has_no_caveat(tmp_path):
    Benchmark([padded(padding="keep")], ["occlusion"], ["sufficiency"]).run(out=tmp_path)
    assert "Caveat" not in next(tmp_path.rglob("leaderboard.md")).read_text("utf-8")


def test_an_attribution_carries_what_it_explains():
    task = padded(padding="keep")
    subject = task.subject(0)
    found = explain(
        Padded(), subject.batch.inputs, subject.batch.lengths, method="deeplift", padding="keep", reference=0.2
    )
    assert torch.equal(found.target, subject.target)
    torch.testing.assert_close(found.score, subject.score)
    assert found.reference.shape == subject.batch.inputs.shape
    assert found.lengths.tolist() == [6, 3, 5, 2]
    difference = found.score - found.reference_score
    torch.testing.assert_close(found.gap, found.values.flatten(1).sum(1) - difference, rtol=0, atol=1e-6)
    assert (
        explain(Padded(), subject.batch.inputs, subject.batch.lengths, method="occlusion", padding="keep").gap is None
    )


def test_a_permutation_importance_that_cannot_move_is_said():
    class Rare(nn.Module):
        def forward(self, x):
            score = 0.3 * x[..., 0].sum(1) - 9
            return torch.stack([torch.zeros_like(score), score], 1)

    x = torch.randn(50, 4, 2, generator=torch.Generator().manual_seed(0))
    targets = (x[..., 0].sum(1) > 3).long()
    said = "no shuffle changed a prediction, so the {} could not move and all values are 0; choose score=log-likelihood"
    for score in ("accuracy", "balanced-accuracy"):
        with pytest.warns(XrnnbenchWarning, match=said.format(score)):
            explain(Rare(), x, method=f"permutation-importance:score={score}", targets=targets)
    values = explain(Rare(), x, method="permutation-importance", targets=targets).values
    assert bool((values[..., 0] > 0).all())
    assert bool((values[..., 1] == 0).all())


def test_multiple_labels_are_told_what_to_say():
    class Labels(nn.Module):
        def forward(self, x):
            return torch.sigmoid(x.sum(1) - 1)

    x, labels = torch.randn(5, 4, 3), torch.randint(0, 2, (5, 3))
    with pytest.raises(UsageError, match="several labels, say outputs='values'"):
        Task.from_model(Labels(), x, None, labels)
    with pytest.raises(UsageError, match="say outputs='values' and give the label to explain as target"):
        explain(Labels(), x, outputs="probabilities")
    found = explain(Labels(), x, outputs="values", target=2)
    torch.testing.assert_close(found.score, torch.sigmoid(x.sum(1) - 1)[:, 2])


def test_a_method_that_breaks_hides_no_other(monkeypatch):
    """A plug-in of somebody else's, registered in the same process."""

    @dataclass(frozen=True)
    class Breaking(Explainer):
        name: ClassVar[str] = "breaking"
        group: ClassVar[str] = "gradient"

        def applicable(self, subject):
            return {}[subject.label]

    names("method")
    monkeypatch.setattr(plugins, "_registry", {**plugins._registry, ("method", "breaking"): Breaking})
    found = inspect(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), torch.randn(3, 2, 3))
    assert found.methods["breaking"] == "it fails (KeyError: 'Sequential')"
    assert "occlusion" in found.applicable
