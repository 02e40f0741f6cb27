"""Limits of calls: their texts, where they come from, and what a board says of a cell that was over one."""

import json

import pytest

from xrnnbench.errors import SuiteError, TimeLimitError, UsageError
from xrnnbench.harness.execution.guard import limits
from xrnnbench.harness.execution.guard.limits import Limits, chosen_limits, default_limits, machine_memory
from xrnnbench.harness.suites.limit_texts import bytes_of, seconds_of
from xrnnbench.harness.suites.suite import Suite

PLAIN = {"name": "a", "tasks": ["t"], "methods": ["m"], "metrics": ["x"]}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), ("90 s", 90), ("10 min", 600), ("1.5 h", 5400), ("2D", 172800), (" None ", None)],
)
def test_texts_of_times(text, seconds):
    assert seconds_of(text, "--time-limit") == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("4 GB", 4 * 10**9), ("500 MiB", 500 * 2**20), ("1.5tb", 1_500_000_000_000), ("none", None)]
)
def test_texts_of_sizes(text, size):
    assert bytes_of(text, "--memory-limit") == size


@pytest.mark.parametrize("text", ["", "soon", "0", "-3", "10 m", "1 h 5 min", "nan", "inf", "1e3", "٣"])
def test_a_bad_time_is_one_sentence_with_examples(text):
    with pytest.raises(UsageError, match=r"^--time-limit .* is no time limit: write .*10 min.*\.$"):
        seconds_of(text, "--time-limit")


@pytest.mark.parametrize("text", ["", "4", "0 GB", "0.0000001 kB", "4 GBit", "-1 GB"])
def test_a_bad_size_is_one_sentence_with_examples(text):
    with pytest.raises(UsageError, match=r"^--memory-limit .* is no memory limit: write .*4 GB.*\.$"):
        bytes_of(text, "--memory-limit")


def test_a_suite_says_limits_and_the_command_line_goes_before():
    suite = Suite.of(PLAIN | {"time_limit": 90, "memory_limit": "2 GB"}, "here")
    assert chosen_limits(suite) == Limits(90, 2 * 10**9)
    assert chosen_limits(suite, "none", "1 GB") == Limits(None, 10**9)


def test_limits_that_are_not_set_leave_no_trace_in_stored_suites():
    assert not {"time_limit", "memory_limit"} & Suite.of(PLAIN, "here").model_dump(mode="json").keys()
    suite = Suite.of(PLAIN | {"time_limit": "1 h"}, "here")
    assert Suite.of(suite.model_dump(), "here") == suite


@pytest.mark.parametrize(
    "bad", [{"time_limit": "soon"}, {"memory_limit": 4}, {"memory_limit": True}, {"time_limit": ""}]
)
def test_a_bad_limit_of_a_suite_is_refused(bad):
    with pytest.raises(SuiteError, match=r"^here: '(time|memory)_limit' must be a .* in quotes, such as"):
        Suite.of(PLAIN | bad, "here")


def test_defaults_are_an_hour_and_a_share_of_the_memory():
    whole, half = default_limits(1), default_limits(2)
    assert whole.seconds == half.seconds == 3600
    assert whole.memory_bytes == int(0.9 * machine_memory())
    assert half.memory_bytes == int(0.45 * machine_memory())


@pytest.mark.parametrize(
    ("line", "file"),
    [("0::/job/step", "job/memory.max"), ("7:cpu,memory:/job", "memory/job/memory.limit_in_bytes")],
)
def test_a_container_has_less_memory_than_its_machine(tmp_path, monkeypatch, line, file):
    (tmp_path / "own").write_text(f"3:cpu:/other\n{line}\n")
    path = tmp_path / "groups" / file
    path.parent.mkdir(parents=True)
    path.write_text("12345678\n")
    (path.parent.parent / path.name).write_text("max\n")
    monkeypatch.setattr(limits, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path / "groups")
    assert machine_memory() == 12345678


def test_the_sentences_name_the_limit_and_the_way_out():
    assert str(Limits(600.0).time_error()) == (
        "It took longer than the limit of 600 s; give more with --time-limit or time_limit in the suite."
    )
    assert "limit of 4 GB (its process held 4.3 GB)" in str(Limits(None, 4 * 10**9).memory_error(4_300_000_000))
    assert json.dumps(TimeLimitError.__name__)
