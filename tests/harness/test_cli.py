"""The command line: exit statuses, one sentence for each error, help for each command."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from xrnnbench.harness import cli

from .conftest import SMALL, command, spec, suite_text

COMMANDS = ("run", "list", "show", "check", "leaderboard", "explain")
MODELS = """
import torch
from torch import nn

class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, inputs, lengths):
        steps = torch.arange(inputs.shape[1]) < lengths[:, None]
        return self.layer((inputs * steps[..., None]).sum(1))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=0)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.embedding(inputs).mean(1))

class Pair(Pool):
    def forward(self, inputs, lengths):
        return super().forward(inputs, lengths), lengths

class Failing(Pool):
    def forward(self, inputs):
        raise RuntimeError("boom")

pool, number = Pool(), 3

def wrong():
    return 3
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(suite_text(), encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "models.py"
    path.write_text(MODELS, encoding="utf-8")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "floats.npz", inputs=rng.normal(size=(3, 6, 2)).astype(np.float32), lengths=[6, 4, 2])
    known = {"lengths": [6, 4, 2], "targets": [0, 2, 1]}
    np.savez(tmp_path / "targets.npz", inputs=rng.normal(size=(3, 6, 2)).astype(np.float32), **known)
    np.savez(tmp_path / "tokens.npz", inputs=rng.integers(1, 9, (3, 5)))
    np.savez(tmp_path / "empty.npz", inputs=np.zeros((3, 6, 2), np.float32), lengths=[6, 0, 2])
    np.savez(tmp_path / "other.npz", outputs=[1])
    np.savez(tmp_path / "texts.npz", inputs=np.array([["a", "b"]]))
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    return path


def test_every_command_has_help():
    runner = CliRunner()
    for words in ([], *([name] for name in COMMANDS)):
        found = runner.invoke(cli.app, [*words, "--help"])
        assert found.exit_code == 0
        assert "Usage" in found.output


def test_version(invoke):
    assert invoke("--version")[:2] == (0, "0.1.0\n")


def test_help_and_version_load_nothing_heavy():
    program = (
        "import sys\nfrom xrnnbench.harness import cli\nsys.argv = ['xrnnbench', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'scipy', 'numpy', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_run_and_run_again(suite, tmp_path):
    first = command("run", suite, "--out", "results", cwd=tmp_path)
    assert (first.returncode, first.stderr.count("explained")) == (0, 2)
    assert "training" in first.stdout
    board = (tmp_path / "results" / "leaderboard.md").read_text(encoding="utf-8")
    assert "`xrnnbench run small.toml --out results`" in board
    assert str(tmp_path) not in board
    program = (
        "import sys\nfrom xrnnbench.harness import cli\n"
        f"sys.argv = ['xrnnbench', 'run', {str(suite)!r}, '--out', {str(tmp_path / 'results')!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'xrnnbench.tasks.base') if name in sys.modules])"
    )
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert second.stdout.startswith("Nothing to do: all 12 cells are stored.")
    assert second.stdout.endswith("[]\n")


def test_options_replace_the_suites(suite, tmp_path, invoke):
    words = ("run", suite, "-m", spec("Gradient"), "-x", spec("Size"), "-t", spec("SmallTask"), "--seeds", "3, 4")
    status, out, _ = invoke(*words, "--out", tmp_path / "r")
    assert status == 0
    assert "slope" in out
    files = sorted((tmp_path / "r" / "runs" / "small" / "cells").rglob("*.json"))
    assert [path.stem for path in files] == ["seed-3-0", "seed-4-0"]


def test_failed_cells_are_status_one(suite, tmp_path, invoke):
    status, _, err = invoke("run", suite, "-m", spec("Broken"), "--out", tmp_path / "r")
    assert status == 1
    assert "6 of 6 cells failed; the board says why" in err
    assert "first: method 'broken' on task 'small' (model seed 0): ZeroDivisionError: by zero (" in err
    assert f"{SMALL.name}, line " in err
    assert err.count("cells failed") == 1


def test_usage_errors_are_one_sentence_and_status_two(suite, tmp_path, invoke, models):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "bad.py").write_text("1 / 0", encoding="utf-8")
    (tmp_path / "syntax.py").write_text("def", encoding="utf-8")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text('{"format": 1}', encoding="utf-8")
    floats, pool = tmp_path / "floats.npz", f"{models}:Pool"
    wrong = [
        ("run", "nothing.toml"),
        ("run", "quikc"),
        ("run", suite, "-m", "no-such-method"),
        ("run", suite, "-m", spec("Nothing")),
        ("run", suite, "-m", spec("SmallTask")),
        ("run", suite, "-m", f"{spec('Broken')}:hwo=raise"),
        ("run", suite, "-t", f"{spec('SmallTask')}:size=many"),
        ("run", suite, "-t", "adding:sequences=500,instances=99999"),
        ("leaderboard", tmp_path / "damaged"),
        ("run", suite, "-m", f"{tmp_path / 'none.py'}:Method"),
        ("run", suite, "-m", f"{tmp_path / 'bad.py'}:Method"),
        ("run", suite, "-m", f"{tmp_path / 'syntax.py'}:Method"),
        ("run", suite, "--seeds", "0,x"),
        ("run", suite, "--seeds", "-1"),
        ("run", suite, "--seeds", "1,1"),
        ("run", suite, "--out", tmp_path / "file"),
        ("run", suite, "--out", "/proc/nowhere"),
        ("show", "no-such-thing"),
        ("show", spec("Nothing")),
        ("check", "no-such-thing"),
        ("leaderboard", tmp_path),
        ("leaderboard", tmp_path, "--format", "pdf"),
        ("leaderboard", tmp_path, "--format", ""),
        ("explain", "no-such-task"),
        ("explain", pool),
        ("explain", f"{models}:Pole", "--data", floats),
        ("explain", f"{models}:number", "--data", floats),
        ("explain", f"{models}:wrong", "--data", floats),
        ("explain", f"{models}:Pair", "--data", floats, "-m", spec("Gradient")),
        ("explain", f"{models}:Failing", "--data", floats, "-m", spec("Gradient")),
        ("explain", pool, "--data", tmp_path / "none.npz"),
        ("explain", pool, "--data", tmp_path / "file"),
        ("explain", pool, "--data", tmp_path / "pickled.npy"),
        ("explain", pool, "--data", tmp_path / "other.npz"),
        ("explain", pool, "--data", tmp_path / "texts.npz"),
        ("explain", pool, "--data", tmp_path / "empty.npz"),
        ("explain", pool, "--data", floats, "-m", "no-such-method"),
        ("explain", pool, "--data", floats, "-m", spec("Attentive")),
        ("explain", pool, "--data", floats, "-m", "permutation-importance"),
        ("explain", pool, "--data", tmp_path / "targets.npz", "--outputs", "values"),
        ("explain", pool, "--data", floats, "-m", spec("Gradient"), "--instance", "3"),
        ("explain", pool, "--data", floats, "-m", spec("Gradient"), "--target", "3"),
        ("explain", spec("SmallTask"), "-m", spec("Gradient"), "--data", floats),
        ("explain", spec("SmallTask"), "-m", spec("Gradient"), "--save", tmp_path / "a.xyz"),
    ]
    for words in wrong:
        status, _, err = invoke(*words)
        # whose code runs is said first
        err = "".join(line for line in err.splitlines(keepends=True) if "whose code now runs" not in line)
        assert (status, err.count("\n")) == (2, 1), (words, err)
        assert err.startswith("xrnnbench: "), (words, err)
    assert invoke("run", "--no-such-flag")[0] == 2
    assert invoke("explain", "adding", "--seed", "-1")[0] == 2
    assert invoke("list", "things")[0] == 2


def test_leaderboard_writes_what_it_is_asked_for(suite, tmp_path, invoke):
    invoke("run", suite, "--out", tmp_path / "r")
    board = tmp_path / "r" / "leaderboard.csv"
    before = board.read_bytes()
    board.unlink()
    (tmp_path / "r" / "leaderboard.md").unlink()
    assert invoke("leaderboard", tmp_path / "r" / "runs" / "small", "--format", "csv,json")[0] == 0
    assert board.read_bytes() == before
    assert not (tmp_path / "r" / "leaderboard.md").exists()


def test_list_and_show(invoke):
    for kind in ("tasks", "methods", "metrics", "interventions"):
        _, out, _ = invoke("list", kind)
        _, text, _ = invoke("list", kind, "--json")
        listed = json.loads(text)
        assert len(out.splitlines()) == len(listed) > 0
        assert ":`" not in out
        assert "``" not in out
        for each in listed:
            assert each["summary"]
            assert out.count(each["name"])
            name = each["name"]
            if kind == "tasks" and name != "adding":  # each would load its data: tests/harness/test_show.py
                continue
            shown = invoke("show", name, "--kind", kind[:-1])[1]
            assert name in shown
            assert ":`" not in shown
            assert "``" not in shown
            assert each.items() <= json.loads(invoke("show", name, "--json", "--kind", kind[:-1])[1]).items()


def test_show_a_file_plugin(invoke):
    status, out, _ = invoke("show", spec("SmallTask"))
    assert status == 0
    assert "size = 8" in out
    assert "application: known truth" in out


def test_explain_a_task(tmp_path, invoke):
    picture = tmp_path / "picture.png"
    words = ("explain", spec("SmallTask"), "-m", spec("Gradient"), "--instance", 2, "--target", 1)
    status, out, err = invoke(*words, "--save", picture)
    assert (status, err) == (0, "")
    assert "output 1" in out
    assert "largest: x" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "data"), [("Pool", "floats"), ("pool", "floats"), ("Tokens", "tokens")])
def test_explain_ones_own_module(tmp_path, models, invoke, name, data):
    words = ("explain", f"{models}:{name}", "--data", tmp_path / f"{data}.npz", "-m", spec("Chance"))
    status, out, err = invoke(*words, "--save", tmp_path / "picture.svg")
    assert (status, err) == (0, "")
    assert "largest:" in out
    assert "<svg" in (tmp_path / "picture.svg").read_text(encoding="utf-8")


def test_the_targets_of_the_data_are_what_is_right(tmp_path, models, invoke):
    words = ("explain", f"{models}:Pool", "--data", tmp_path / "targets.npz", "-m", "permutation-importance")
    assert invoke(*words)[0] == 0
    assert invoke("explain", spec("SmallTask"), "-m", "permutation-importance")[0] == 0


def test_a_run_with_a_damaged_file_says_so(suite, tmp_path, invoke):
    words = ("run", suite, "-m", spec("Gradient"), "-t", spec("SmallTask"), "-x", spec("Size"), "--out", tmp_path / "r")
    assert invoke(*words)[0] == 0
    (path,) = (tmp_path / "r" / "runs" / "small").glob("run-*.json")
    status, out, _ = invoke("leaderboard", path.parent)
    assert status == 0
    assert path.name.replace("run", "leaderboard").replace("json", "md") in out
    path.write_text(path.read_text("utf-8").replace('"methods"', '"ways"'), "utf-8")
    status, _, err = invoke("leaderboard", path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{path.name} is damaged (it was changed after it was written" in err
    status, _, err = invoke(*words)
    assert status == 0
    assert f"{path.name} is damaged" in " ".join(err.split())
    assert invoke(*words)[1].startswith("Nothing to do")


def test_file_of_small_plugins_is_there():
    assert SMALL.is_file()


def test_a_warning_is_one_sentence_without_a_line_of_the_program(tmp_path):
    (tmp_path / "models.py").write_text(MODELS, "utf-8")
    np.savez(tmp_path / "x.npz", inputs=np.array([[1, 2, 3], [4, 5, 6]]), lengths=np.array([3, 2]))
    done = command("inspect", "models.py:Tokens", "--data", "x.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = command("explain", "models.py:Tokens", "--data", "x.npz", "-m", "occlusion", cwd=tmp_path)
    (line,) = run.stderr.splitlines()
    assert line.startswith(
        "xrnnbench: warning: Tokens takes no lengths, and scores sequence 1 otherwise with its padding"
    )
