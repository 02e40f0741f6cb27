"""What is paid again: a metric more explains nothing, a method more trains nothing, by exact counts of calls."""

from pathlib import Path

import pytest

from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.tasks.models import cache, published

from .conftest import counted, spec

TRAINED = Path(__file__).with_name("trained.py")
# Two tasks of two models each: four models, and four cells for each method.
TASKS, SEEDS, MODELS = (f"{TRAINED}:Blink", f"{TRAINED}:Wink"), (0, 1), 4
CHANCE, GRADIENT, SIZE, KINSHIP = (spec(name) for name in ("Chance", "Gradient", "Size", "Kinship"))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """A cache of its own, and nothing published."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / published.MANIFEST).write_text(published.Manifest().model_dump_json(), encoding="utf-8")
    monkeypatch.setenv(published.VARIABLE, str(tmp_path))


def counts(calls, *words):
    found = calls()
    return {word: counted(found, word) for word in words}


def run(out, methods, metrics, **options):
    return Benchmark(TASKS, ("random", *methods), metrics, SEEDS, name="small").run(out, **options)


WORDS = ("train", "explain-chance", "explain-slope", "score-size", "score-kinship")


def test_each_thing_is_paid_once(tmp_path, calls):
    run(tmp_path, (CHANCE, GRADIENT), (SIZE, KINSHIP))
    # three methods are judged, random among them
    assert counts(calls, *WORDS) == dict(zip(WORDS, (MODELS, MODELS, MODELS, 3 * MODELS, 3 * MODELS), strict=True))
    assert run(tmp_path, (CHANCE, GRADIENT), (SIZE, KINSHIP)).nothing_to_do
    assert counts(calls, *WORDS) == dict.fromkeys(WORDS, 0)


def test_a_metric_more_explains_and_trains_nothing(tmp_path, calls):
    run(tmp_path, (CHANCE, GRADIENT), (SIZE,))
    calls()
    run(tmp_path, (CHANCE, GRADIENT), (SIZE, KINSHIP))
    assert counts(calls, *WORDS) == dict(zip(WORDS, (0, 0, 0, 0, 3 * MODELS), strict=True))
    run(tmp_path, (CHANCE, GRADIENT), (f"{SIZE}:scale=2.0", SIZE, KINSHIP))
    assert counts(calls, *WORDS) == dict(zip(WORDS, (0, 0, 0, 3 * MODELS, 0), strict=True))


def test_a_method_more_trains_nothing_and_leaves_the_others_alone(tmp_path, calls):
    run(tmp_path, (CHANCE,), (SIZE, KINSHIP))
    calls()
    run(tmp_path, (CHANCE, GRADIENT), (SIZE, KINSHIP))
    assert counts(calls, *WORDS) == dict(zip(WORDS, (0, 0, MODELS, MODELS, MODELS), strict=True))


def test_a_seed_more_trains_that_model_only(tmp_path, calls):
    run(tmp_path, (CHANCE, GRADIENT), (SIZE,))
    calls()
    Benchmark(TASKS, ("random", CHANCE, GRADIENT), (SIZE,), (0, 1, 2), name="small").run(tmp_path)
    assert counts(calls, *WORDS) == dict(zip(WORDS, (2, 2, 2, 6, 0), strict=True))


def test_fresh_explains_again_and_trains_nothing(tmp_path, calls):
    run(tmp_path, (CHANCE, GRADIENT), (SIZE,))
    calls()
    run(tmp_path, (CHANCE, GRADIENT), (SIZE,), fresh=True)
    assert counts(calls, *WORDS) == dict(zip(WORDS, (0, MODELS, MODELS, 3 * MODELS, 0), strict=True))


def test_fewer_of_anything_costs_nothing(tmp_path, calls):
    run(tmp_path, (CHANCE, GRADIENT), (SIZE, KINSHIP))
    calls()
    run(tmp_path, (CHANCE,), (SIZE, KINSHIP))
    run(tmp_path, (CHANCE, GRADIENT), (KINSHIP,))
    run(tmp_path, (GRADIENT, CHANCE), (KINSHIP, SIZE))
    assert counts(calls, *WORDS) == dict.fromkeys(WORDS, 0)
