"""Which job a worker gets next."""

from types import SimpleNamespace

import pytest

from xrnnbench.harness.execution.workers.job_queue import JobQueue


def job(model, name):
    return SimpleNamespace(model=(model, 0), name=name)


def queue(**models):
    """A queue with jobs of these costs, by model."""
    filled = JobQueue()
    for model, costs in models.items():
        for cost in costs:
            filled.put(job(model, f"{model}{cost}"), None, cost)
    return filled


def taken(filled, *workers):
    return [filled.take(worker).job.name for worker in workers]


def test_a_worker_stays_with_its_model_and_others_take_new_ones():
    filled = queue(a=(1, 5), b=(2, 3), c=(4,))
    # the model with the most work first, its longest job first; b has more work than c
    assert taken(filled, "w", "v", "w", "v", "v") == ["a5", "b3", "a1", "b2", "c4"]
    assert not filled


def test_a_worker_without_a_model_helps_where_most_work_waits():
    filled = queue(a=(1, 1, 1), b=(5, 4, 3))
    assert taken(filled, "w", "v") == ["b5", "a1"]
    assert taken(filled, "u", "u", "w") == ["b4", "b3", "a1"]


def test_the_models_of_a_lost_worker_are_free_again():
    filled = queue(a=(3, 2), b=(1, 1))
    assert taken(filled, "w", "v") == ["a3", "b1"]
    filled.lose(["w"])
    assert taken(filled, "u", "v") == ["a2", "b1"]


def test_jobs_come_back_in_their_order_and_models_are_forgotten():
    filled = queue(a=(3, 3, 2))
    first = filled.take("w")
    filled.put_back(first)
    assert filled.take("") is first
    assert [waiting.job.name for waiting in filled] == ["a3", "a2"]
    filled.forget([("a", 0)])
    assert taken(filled, "v", "v") == ["a3", "a2"]
    with pytest.raises(LookupError, match="no job waits"):
        filled.take("v")
