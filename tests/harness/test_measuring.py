import time

import pytest
import torch

from xrnnbench import memory
from xrnnbench.harness.execution.steps.time_and_memory import Stopwatch, measured
from xrnnbench.memory import peak_memory, resident_memory

HUNDRED = 100 * 2**20


def work():
    held = torch.ones(HUNDRED // 4)
    time.sleep(0.05)
    return float(held[0])


@pytest.mark.skipif(resident_memory() is None, reason="the system does not say how much memory is resident")
@pytest.mark.parametrize("exact", [True, False])
def test_peak_is_seen_though_it_is_gone_at_the_end(monkeypatch, exact):
    if not exact:
        monkeypatch.setattr(memory, "_reset_kernel_peak", lambda: False)
    for _ in range(2):
        with measured() as effort:
            work()
        assert HUNDRED * 0.95 < effort.peak_bytes < HUNDRED * 1.3
    with measured() as effort:
        pass
    assert effort.peak_bytes < HUNDRED / 10


def test_time_is_there_also_after_an_error():
    efforts = []

    def fail():
        with measured() as effort:
            efforts.append(effort)
            time.sleep(0.02)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert efforts[0].seconds >= 0.02


@pytest.mark.parametrize("missing", ["everything", "the kernel's peak"])
def test_what_cannot_be_measured_is_none_and_never_zero(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(memory, "_PROCESS", tmp_path)
    (tmp_path / "clear_refs").mkdir()
    if missing == "everything":
        monkeypatch.setattr(memory, "resident_memory", lambda: None)
    with measured() as effort, peak_memory() as inner:
        work()
    if missing == "everything":
        assert effort.peak_bytes is inner.peak_bytes is None
    else:  # psutil reads it, here and where there is no /proc
        assert HUNDRED * 0.95 < effort.peak_bytes < HUNDRED * 1.3


def test_phases_and_the_rest_add_up():
    watch = Stopwatch()
    with watch.phase("training"):
        time.sleep(0.02)
    time.sleep(0.01)
    times = watch.times
    assert times["training"] >= 0.02
    assert times["rest"] >= 0.01
    assert sum(times.values()) - times["total"] == pytest.approx(times["total"])
