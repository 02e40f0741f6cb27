"""The simulated schedule: known durations of small ones, and bounds that no schedule can pass."""

from __future__ import annotations

import random

import pytest

from xrnnbench.harness.execution.forecast.schedule import Work, simulate, urgencies

# 0 frees 2, both 0 and 1 free 3
DIAMOND = Work([3.0, 2.0, 1.0, 1.0], [0, 0, 1, 2], [[2, 3], [3], [], []])


def drawn(pieces, seed=0):
    """Work with chains of three pieces."""
    rng = random.Random(seed)  # noqa: S311  # a test's own numbers
    seconds = [rng.expovariate(1) for _ in range(3 * pieces)]
    waits = [0, 1, 1] * pieces
    frees = [[] if place % 3 == 2 else [place + 1] for place in range(3 * pieces)]
    return Work(seconds, waits, frees)


@pytest.mark.parametrize(
    ("workers", "options", "seconds"),
    [
        (1, {}, 7),
        (2, {}, 4),
        (9, {}, 4),
        (2, {"startup": 5}, 9),
        (2, {"handling": 0.5}, 5.5),
        # one worker at 0, the other at 10
        (2, {"stagger": 10}, 7),
    ],
)
def test_duration_of_a_small_schedule(workers, options, seconds):
    assert simulate(DIAMOND, workers, **options).seconds == pytest.approx(seconds)


def test_the_most_urgent_piece_is_first():
    work = Work([1.0, 1.0, 5.0], [0, 0, 1], [[], [2], []])
    assert simulate(work, 1, urgency=[2, 1, 3]).seconds == 7
    assert simulate(work, 2, urgency=urgencies(work)).seconds == 6
    late = Work([1.0, 1.0, 1.0, 5.0], [0, 0, 0, 1], [[], [], [3], []])
    assert simulate(late, 2, urgency=urgencies(late)).seconds == 6
    assert simulate(late, 2, urgency=[3, 2, 1, 0]).seconds == 7


def test_urgencies_are_the_longest_chains():
    assert urgencies(DIAMOND) == [4, 3, 1, 1]
    assert urgencies(DIAMOND, handling=1) == [6, 5, 2, 2]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_no_schedule_is_shorter_than_its_bounds(workers):
    work = drawn(100)
    schedule = simulate(work, workers, handling=0.01)
    assert schedule.seconds >= max(schedule.path, schedule.driver, schedule.work / workers)
    # Graham's bound of list scheduling, with the driver's own time
    assert schedule.seconds <= schedule.work / workers + schedule.path + schedule.driver
    assert 0 < schedule.efficiency <= 1


@pytest.mark.parametrize(
    ("workers", "options", "limit"),
    [
        (2, {}, "work"),
        (1000, {}, "longest chain"),
        (1000, {"handling": 1.0}, "driver"),
        (1000, {"startup": 1000}, "start-up"),
    ],
)
def test_what_limits_it_is_named(workers, options, limit):
    assert simulate(drawn(100), workers, **options).limit == limit


def test_nothing_to_do_takes_no_time():
    schedule = simulate(Work([], [], []), 4)
    assert (schedule.seconds, schedule.path) == (0, 0)
    assert schedule.efficiency == 1
