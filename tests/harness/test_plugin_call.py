"""Calls of plug-ins that misbehave: the culprit fails with the reason, and the process is as it was."""

import importlib
import json
import os
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xrnnbench import Benchmark
from xrnnbench.errors import ContractError, DataError, FailedCellsWarning, MemoryLimitError, TimeLimitError
from xrnnbench.harness.execution.guard import model_state, process_state, watcher
from xrnnbench.harness.execution.guard.failures import PluginFailure, failure_of, is_own, printable, stored_text
from xrnnbench.harness.execution.guard.limits import Limits
from xrnnbench.harness.execution.guard.plugin_call import PluginCall
from xrnnbench.harness.execution.guard.process_state import ProcessState
from xrnnbench.tasks.engine.isolation import same_randomness, seed_generators
from xrnnbench.tasks.engine.stray_threads import running_threads, stop_strays

from . import reckless
from .conftest import SMALL, command, kept, small_benchmark

RECKLESS = SMALL.with_name("reckless.py")
WATCHED = Limits(3600, 1 << 60)
# the main thread and signals are those of POSIX systems
posix = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")


def call(function, limits=WATCHED):
    with PluginCall("Method 'it'", limits):
        return function()


def state():
    return ProcessState.now().values


# ---- what a plug-in changes ------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("what", [name for name in reckless.CHANGES if name != "thread"])
def test_what_is_changed_is_restored_and_is_a_failure(what):
    before = state()
    with pytest.raises(
        ContractError, match=r"^Method 'it' changed .* and did not change it back; it has been restored\.$"
    ):
        call(reckless.CHANGES[what])
    assert state() == before


@posix
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of the thread, see below
@pytest.mark.parametrize("what", reckless.CHANGES)
def test_an_error_goes_before_a_change_and_the_change_is_restored(what):
    before = state()
    with pytest.raises(PluginFailure, match="ZeroDivisionError"):
        call(lambda: (reckless.CHANGES[what](), 1 / 0))
    assert state() == before


def test_what_is_changed_back_is_no_failure(tmp_path):
    def careful():
        before, here = os.environ.get("X"), Path.cwd()
        os.environ["X"] = "1"
        os.chdir(tmp_path)
        os.chdir(here)
        os.environ.pop("X") if before is None else os.environ.update(X=before)
        return 7

    assert call(careful) == 7


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A third-party package that sets up its own environment when it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("OF_A_LIBRARY", raising=False)
    (tmp_path / "alibrary_of_tests.py").write_text(
        "import os, sys, warnings\nos.environ['OF_A_LIBRARY'] = '1'\nsys.path.append('/of/a/library')\n"
        "warnings.filterwarnings('ignore', message='of a library')\nimport numpy\nnumpy.seterr(all='ignore')\n"
    )
    yield "alibrary_of_tests"
    sys.modules.pop("alibrary_of_tests", None)


def test_a_library_that_is_imported_late_may_set_up_its_environment(package, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    errors = process_state.np.geterr()
    call(lambda: importlib.import_module(package))
    assert os.environ.pop("OF_A_LIBRARY") == "1"
    assert "/of/a/library" in sys.path
    assert process_state.np.geterr() == errors


def test_what_a_library_overwrites_is_a_failure_all_the_same(package, monkeypatch):
    monkeypatch.setenv("OF_A_LIBRARY", "mine")
    with pytest.raises(ContractError, match="changed the environment variables"):
        call(lambda: importlib.import_module(package))
    assert os.environ["OF_A_LIBRARY"] == "mine"


def test_streams_that_are_replaced_are_put_back(monkeypatch):
    before = sys.stdout
    with pytest.raises(ContractError, match=r"^Method 'it' replaced sys\.stdout; it has been restored\.$"):
        call(lambda: setattr(sys, "stdout", types.SimpleNamespace(write=len, flush=int)))
    assert sys.stdout is before


# ---- what a plug-in raises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "kind", "sentence"),
    [
        ("weird", "Weird", "w"),
        ("exit", "SystemExit", "0"),
        ("generator", "GeneratorExit", "no message"),
        ("interrupt", "KeyboardInterrupt", "no message"),
        ("no text", "NoTextError", "its message cannot be shown, for its __str__ raises SystemExit"),
        ("number", "NumberError", "its message cannot be shown, for its __str__ raises TypeError"),
        ("signs", "ValueError", r"a\x00b\x1b[31m\ud800\u202e"),
        ("long", "ValueError", "x" * 500 + " …"),
        ("chain", "ValueError", "first"),
        ("recursion", "RecursionError", "maximum recursion depth exceeded"),
        ("group", "BaseExceptionGroup", "both (2 sub-exceptions)"),
    ],
)
def test_every_exception_is_a_failure(what, kind, sentence):
    with pytest.raises(PluginFailure) as caught:
        call(reckless.ERRORS[what])
    failure = failure_of(caught.value)
    assert (failure.kind, failure.sentence) == (kind, sentence)
    assert len(failure.traceback) < 30_000
    assert "reckless.py" in failure.traceback
    assert json.loads(json.dumps(failure.traceback)).encode()
    assert "\0" not in failure.traceback
    assert "\x1b" not in failure.traceback


def test_tracebacks_name_causes_groups_and_notes():
    def group():
        inner = ExceptionGroup("both", [KeyError("inner")])
        inner.add_note("a note")
        raise RuntimeError("outer") from inner

    with pytest.raises(PluginFailure) as caught:
        call(group)
    trace = caught.value.failure.traceback
    for part in ("KeyError: 'inner'", "one of those of the following group", "a note", "direct cause", "outer"):
        assert part in trace
    assert trace.endswith("RuntimeError: outer\n")


def test_errors_of_xrnnbench_stay_what_they_are():
    error = DataError("of mine")
    error.__cause__ = ImportError("none")
    with pytest.raises(DataError) as caught:
        call(lambda: reckless.fail(error))
    assert caught.value is error
    assert isinstance(error.__cause__, ImportError)
    assert not is_own(DataError(reckless.NoTextError()))


def test_memory_that_is_not_there_is_a_failure_of_memory():
    with pytest.raises(MemoryLimitError, match="It ran out of memory"):
        call(reckless.ERRORS["memory"])


@pytest.fixture
def heed():
    """Have this process heed Ctrl-C, which a shell has the commands of its background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix
def test_an_interruption_that_is_ignored_ends_nothing():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        call(lambda: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


@posix
def test_only_a_signal_is_the_users_interruption(heed):
    with pytest.raises(KeyboardInterrupt):
        call(lambda: signal.raise_signal(signal.SIGINT))

    def swallow():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return

    with pytest.raises(KeyboardInterrupt):
        call(swallow)


def test_texts_that_are_stored_are_texts():
    assert stored_text("a\ud800", "It") == r"a\ud800"
    assert len(stored_text("x" * 10**6, "It")) < 10_010
    assert printable("a line\n\tand µ, 中") == "a line\n\tand µ, 中"
    with pytest.raises(ContractError, match="It gave a bool, not a text"):
        stored_text(True, "It")  # noqa: FBT003


# ---- limits ----------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    "function",
    [
        lambda: time.sleep(60),
        reckless.swallow,
        lambda: reckless.fail(reckless.EndlessError()),
        lambda: str(reckless.EndlessError()),
    ],
)
def test_a_call_that_takes_too_long_is_interrupted(function):
    start = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"longer than the limit of 0\.2 s; give more with --time-limit"):
        call(function, Limits(0.2))
    assert time.monotonic() - start < 30


def test_a_call_in_another_thread_is_interrupted():
    found = []

    def spin():
        while True:
            pass

    def work():
        try:
            call(spin, Limits(0.2))
        except TimeLimitError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [str(Limits(0.2).time_error())]


def traced(function):
    """Call a function in a thread of its own in which every line is traced; False if it does not end."""

    def trace(frame, event, argument):
        return trace

    def work():
        sys.settrace(trace)
        function()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    return not thread.is_alive()


@pytest.mark.parametrize("late", [False, True])
def test_an_interruption_that_comes_when_the_call_has_ended_is_lost(monkeypatch, late):
    """Also where every line is traced: Python 3.11 hangs there if an interruption is taken back."""
    found, remove = [], watcher._Watcher.remove

    def interrupting(self, ended):
        remove(self, ended)
        if late and not ended._sent:
            ended.error = Limits(0.2).time_error()
            ended._interrupt()

    def work():
        try:
            call(lambda: None)
        except TimeLimitError as error:
            found.append(str(error))
        found.append(sum(range(10)))

    monkeypatch.setattr(watcher._Watcher, "remove", interrupting)
    assert traced(work)
    assert found == [*([str(Limits(0.2).time_error())] if late else []), 45]
    assert traced(state)


def test_a_call_that_takes_too_much_memory_is_interrupted(monkeypatch):
    held = iter([100, 100])
    monkeypatch.setattr("xrnnbench.harness.execution.guard.watcher.resident_memory", lambda: next(held, 2000))
    with pytest.raises(MemoryLimitError, match=r"more memory than the limit of 1 kB \(its process held 2 kB\)"):
        call(
            lambda: time.sleep(60) if hasattr(signal, "setitimer") else [time.sleep(0.01) for _ in range(6000)],
            Limits(None, 1000),
        )


def test_memory_that_others_hold_is_not_its_fault(monkeypatch):
    monkeypatch.setattr("xrnnbench.harness.execution.guard.watcher.resident_memory", lambda: 2000)
    assert call(lambda: time.sleep(0.3) or 7, Limits(None, 1000)) == 7


@posix
def test_the_end_of_a_context_is_not_interrupted():
    ends = []

    def work():
        try:
            with same_randomness():
                time.sleep(60)
        finally:
            ends.append(process_state.torch.initial_seed())

    before = process_state.torch.get_rng_state()
    with pytest.raises(TimeLimitError):
        call(lambda: (seed_generators(3), work()), Limits(0.2))
    assert ends
    process_state.torch.set_rng_state(before)


@posix
def test_handlers_and_timers_of_the_caller_are_kept():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        call(lambda: time.sleep(0.15))
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- threads ---------------------------------------------------------------------------------------------------------


# pytest takes the end of a thread by SystemExit for an error, Python does not
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_left_running_is_stopped():
    with pytest.raises(ContractError, match=r"^Method 'it' left a thread running \(Thread-.*it was told to stop"):
        call(reckless.leave_thread)


def test_a_pool_of_python_is_no_stray():
    with ThreadPoolExecutor(1) as pool:
        assert call(lambda: pool.submit(len, "four").result()) == 4


def test_a_timer_that_waits_is_a_stray():
    before = running_threads()
    timer = threading.Timer(60, reckless.time_out)
    timer.start()
    assert stop_strays(before) == (timer.name,)
    timer.join(5)
    assert not timer.is_alive()


# ---- runs ------------------------------------------------------------------------------------------------------------


def run(folder, *whats, **more):
    methods = ("Chance", *(f"{RECKLESS}:Reckless:what={what}" for what in whats), "Gradient")
    named = [name if "reckless" in name else f"{SMALL}:{name}" for name in methods]
    return Benchmark([f"{SMALL}:SmallTask"], named, [f"{SMALL}:Size"], name="small").run(folder, **more)


def test_culprits_fail_and_the_others_are_the_same_to_the_bit(tmp_path):
    small_benchmark(tasks=("SmallTask",), metrics=("Size",), seeds=(0,)).run(tmp_path / "good")
    whats = ("directory", "weird", "exit", "signs", "later", "denormal", "interrupt", "anomaly")
    with pytest.warns(FailedCellsWarning, match="8 of 10 cells failed"):
        found = run(tmp_path / "bad", *whats)
    failures = {key.method.spec: str(cell.failure) for key, cell in found.cells.items() if cell.failure is not None}
    assert "changed weight of the model it explains" in failures["reckless:what=later"]
    assert "changed the working directory" in failures["reckless:what=directory"]
    others = {path: value for path, value in kept(tmp_path / "bad").items() if "reckless" not in path}
    assert others == kept(tmp_path / "good")


def test_global_generators_give_the_same_numbers_whatever_ran_before(tmp_path):
    first, second = run(tmp_path / "first", "global"), run(tmp_path / "second", "", "global")
    marks = [
        next(cell.fingerprints.attribution for key, cell in each.cells.items() if "global" in key.method.spec)
        for each in (first, second)
    ]
    assert marks[0] == marks[1]


@posix
def test_closed_streams_and_descriptors_cost_one_cell_each(tmp_path):
    (tmp_path / "closing.py").write_text(
        "import sys\nfrom reckless import *\n"
        "@dataclass(frozen=True)\nclass Closing(Reckless):\n"
        '    """Closes.\n\n    Cost: none.\n    Fails where: asked.\n    """\n'
        '    name: ClassVar[str] = "closing"\n'
        "    def attribute(self, subject, rng):\n"
        "        sys.stdout.close(); sys.stderr.close() if self.what else close_descriptors()\n"
        "        return subject.continuous().batch.inputs.clone()\n"
    )
    (tmp_path / "reckless.py").write_text(RECKLESS.read_text("utf-8"))
    done = command(
        "run", "quick", "-t", f"{SMALL}:SmallTask", "-x", f"{SMALL}:Size", "--seeds", "0", "--out", tmp_path / "out",
        "-m", "closing.py:Closing:what=1", "-m", "closing.py:Closing", "-m", f"{SMALL}:Gradient", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Board: " in done.stdout
    assert "closed sys.stdout; it has been restored." in done.stderr


def test_a_cell_over_its_limit_takes_no_part_in_ranks_and_the_board_says_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(
        model_state, "PluginCall", lambda who, _: PluginCall(who, Limits(0.2) if "slow" in who else Limits())
    )
    (tmp_path / "slow.py").write_text(
        "import time\nfrom dataclasses import dataclass\nfrom typing import ClassVar\nfrom xrnnbench import Explainer\n"
        "@dataclass(frozen=True)\nclass Slow(Explainer):\n"
        '    """Slow.\n\n    Cost: none.\n    Fails where: asked.\n    """\n'
        '    name: ClassVar[str] = "slow"\n'
        "    def attribute(self, subject, rng):\n        time.sleep(60)\n"
    )
    methods = [f"{SMALL}:Chance", f"{SMALL}:Gradient", str(tmp_path / "slow.py") + ":Slow"]
    with pytest.warns(FailedCellsWarning, match=r"TimeLimitError: It took longer than the limit of 0\.2 s"):
        found = Benchmark([f"{SMALL}:SmallTask"], methods, [f"{SMALL}:Size"], name="small").run(tmp_path / "out")
    text = found.boards["md"].read_text("utf-8")
    assert "TimeLimitError: It took longer than the limit of 0.2 s; give more with --time-limit" in text
    board = found.leaderboard()
    entries = {method: entry for (method, _), entry in board.tables[0].entries.items()}
    assert entries["slow"].status == "failed"
    assert entries["slow"].rank_range is None
    assert entries["slope"].rank_range is not None
    assert "slow" not in board.overall
