"""Runs on several processes: the same numbers to the bit, and a plug-in that ends its process costs its own cell."""

import contextlib
import functools
import json
import os
import pickle
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import distributed
import psutil
import pytest

from xrnnbench import Benchmark, Run, UsageError
from xrnnbench.harness.execution.guard.limits import UNLIMITED
from xrnnbench.harness.execution.workers import local_cluster
from xrnnbench.harness.execution.workers.process_start import OwnPython
from xrnnbench.harness.execution.workers.supervision import Supervisor
from xrnnbench.harness.execution.workers.terms import Terms
from xrnnbench.harness.results.cells import reproducible

from .conftest import METHODS, METRICS, PATIENCE, TASKS, command, ending, kept, small_benchmark, suite_text
from .dask_processes import dask_processes, kill, make_certificates

pytestmark = pytest.mark.filterwarnings("ignore::xrnnbench.errors.FailedCellsWarning")

CRASHING = Path(__file__).with_name("crashing.py")


def crashing(*methods, tasks=("Sums",), metrics=("Size",), name="crashing"):
    return Benchmark(*([f"{CRASHING}:{each}" for each in names] for names in (tasks, methods, metrics)), name=name)


def cells_of(run):
    """Failures by method, and what is reproducible of the other cells."""
    failures, rest = {}, {}
    for key, cell in run.cells.items():
        if cell.failure is not None:
            failures[key.method.spec] = cell.failure
        else:
            rest[key.path] = reproducible(json.loads(cell.model_dump_json()))
    return failures, rest


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results of a run in one process."""
    out = tmp_path_factory.mktemp("alone")
    small_benchmark().run(out)
    return out


def test_two_processes_give_the_same_bits_as_none(alone, tmp_path):
    run = small_benchmark().run(tmp_path, jobs=2)
    assert run.complete
    assert kept(tmp_path) == kept(alone)
    assert run.times["total"] > 0
    assert not (run.folder / ".running").exists()


@pytest.mark.full
def test_any_number_of_processes_resumes_what_another_began(alone, tmp_path):
    small_benchmark(tasks=TASKS[:1], methods=METHODS[:1], metrics=METRICS[:1]).run(tmp_path, jobs=3)
    small_benchmark(seeds=(0, 1)).run(tmp_path)
    small_benchmark().run(tmp_path, jobs=None)
    assert kept(tmp_path) == kept(alone)


@pytest.mark.full
def test_a_trained_model_and_its_data_travel_and_its_weights_come_back(tmp_path, monkeypatch):
    # no published model has these parameters, so it is trained by a worker
    axes = ([f"{CRASHING.with_name('trained.py')}:Blink"], ["occlusion", "random"], ["comprehensiveness"])
    cache = tmp_path / "cache"
    monkeypatch.setenv("XRNNBENCH_CACHE", str(cache / "a"))
    first = Benchmark(*axes, seeds=(0, 1), name="small").run(tmp_path / "a")
    monkeypatch.setenv("XRNNBENCH_CACHE", str(cache / "b"))
    Benchmark(*axes, seeds=(0, 1), name="small").run(tmp_path / "b", jobs=2)
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    assert first.failed == 0
    names = [sorted(path.name for path in (cache / each / "models").iterdir()) for each in "ab"]
    assert names[0] == names[1]


def test_what_ends_its_process_costs_its_own_cell(tmp_path):
    good = crashing("Good", "Fair").run(tmp_path / "good")
    run = crashing("Good", "Crashing", "Leaving", "Fair").run(tmp_path / "all", jobs=2)
    failures, rest = cells_of(run)
    assert rest == cells_of(good)[1]
    assert {name: failure.kind for name, failure in failures.items()} == dict.fromkeys(
        ("crashing", "leaving"), "CrashError"
    )
    assert "killed by SIGSEGV (Segmentation fault)" in failures["crashing"].sentence
    assert "ended by itself, with status 0. It was so in each of 3 tries." in failures["leaving"].sentence
    # where it happened
    assert "crashing.py" in failures["crashing"].traceback


@pytest.mark.full
@pytest.mark.parametrize(
    ("method", "limits", "kind", "said"),
    [
        ("Hanging", {"time_limit": "2"}, "TimeLimitError", "longer than the limit of 2 s"),
        ("Filling", {"memory_limit": "1500 MB"}, "MemoryLimitError", "more memory than the limit of 1.5 GB"),
        ("Closing", {}, None, None),
    ],
)
def test_limits_and_streams(tmp_path, method, limits, kind, said):
    good = crashing("Good").run(tmp_path / "good")
    run = crashing(method, "Good").run(tmp_path / "all", jobs=2, **limits)
    failures, rest = cells_of(run)
    assert cells_of(good)[1].items() <= rest.items()
    if kind is not None:
        (failure,) = failures.values()
        assert failure.kind == kind
        assert said in failure.sentence
        board = (tmp_path / "all" / "leaderboard.md").read_text(encoding="utf-8")
        assert said in board


def test_a_metric_that_ends_the_process_costs_its_own_records(tmp_path):
    run = crashing("Good", "Fair", metrics=("Size", "Last")).run(tmp_path, jobs=2)
    records = {
        (key.method.spec, record.metric.spec): record for key, cell in run.cells.items() for record in cell.records
    }
    assert [place for place, record in records.items() if record.failure] == [("fair", "last")]
    assert "with status 3" in records["fair", "last"].failure.sentence
    assert run.failed == 1


@pytest.mark.full
def test_a_task_that_ends_the_process_costs_its_own_cells(tmp_path):
    run = crashing("Good", "Fair", tasks=("Dying", "Sums")).run(tmp_path, jobs=2)
    assert {key.task.spec for key, cell in run.cells.items() if cell.failure} == {"dying"}


@pytest.mark.full
def test_what_cannot_be_sent_is_done_here_and_it_is_said_once(tmp_path, capsys):
    from xrnnbench.harness.execution.progress import Lines  # noqa: PLC0415  # its only use

    run = crashing("Good", "Fair", tasks=("Staying", "Sums")).run(tmp_path / "a", jobs=2, progress=Lines())
    said = [line for line in capsys.readouterr().err.splitlines() if "cannot be sent" in line]
    assert len(said) == 1
    assert said[0].startswith("staying is computed in this process, since it cannot be sent to others")
    assert "this model stays here" in said[0]
    assert cells_of(run) == cells_of(crashing("Good", "Fair", tasks=("Staying", "Sums")).run(tmp_path / "b"))


@pytest.mark.full
def test_a_job_that_has_ended_the_run_is_done_apart_in_the_next(tmp_path):
    suite = tmp_path / "suite.toml"
    methods = [f"{CRASHING}:{each}" for each in ("Good", "Crashing", "Fair")]
    suite.write_text(
        f'name = "small"\ntasks = ["{CRASHING}:Sums"]\nmetrics = ["{CRASHING}:Size"]\nmethods = {json.dumps(methods)}',
        encoding="utf-8",
    )
    first = command("run", suite, "--out", tmp_path / "out", "--jobs", "1")
    assert first.returncode == -signal.SIGSEGV
    second = command("run", suite, "--out", tmp_path / "out", "--jobs", "1")
    assert second.returncode == 1
    assert "computed in a process of its own, since the last run ended here" in second.stderr
    assert "SIGSEGV" in second.stderr
    failures, rest = cells_of(Run.load(tmp_path / "out"))
    assert set(failures) == {"crashing"}
    good = crashing("Good", "Fair", name="small").run(tmp_path / "good")
    assert rest == cells_of(good)[1]


@pytest.mark.full
def test_a_script_without_a_guard_of_its_main_part(alone, tmp_path):
    """Processes started by multiprocessing would run it again."""
    lists = [[f"{CRASHING.with_name('small.py')}:{name}" for name in names] for names in (TASKS, METHODS, METRICS)]
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            from xrnnbench import Benchmark

            print("once")
            Benchmark(*{lists!r}, seeds=(0, 1, 2), name="small").run({str(tmp_path / "out")!r}, jobs=2)
        """),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=PATIENCE
    )
    assert done.stdout == "once\n"
    assert kept(tmp_path / "out") == kept(alone)


# ---- killed at any moment -------------------------------------------------------------------------------------------


def run_of(suite, out, calls, **more):
    """A run on two processes, in a process of its own, whose plug-ins take their time."""
    environment = {**os.environ, "XRNNBENCH_TEST_CALLS": str(calls), "XRNNBENCH_TEST_SLEEP": "0.05", **more}
    words = [sys.executable, "-m", "xrnnbench", "run", str(suite), "--out", str(out), "--jobs", "2"]
    # a shell has the commands of its background ignore Ctrl-C, and these tests with them
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(words, env=environment, preexec_fn=heed, **streams)  # noqa: PLW1509  # no threads here


def wait_for(calls, count, process):
    deadline = time.monotonic() + 120
    while not calls.exists() or calls.read_text(encoding="utf-8").count("\n") < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{count} calls were not made in two minutes"
        time.sleep(0.01)


def kin(run):
    """Processes of a run by what they are: the local cluster, its workers, and their cell processes."""
    cluster = next(
        child for child in psutil.Process(run.pid).children() if "local_cluster" in " ".join(child.cmdline())
    )
    # each is a copy of a server process: cluster, server, worker, server, cell process
    workers = [worker for server in cluster.children() for worker in server.children()]
    servers = [server for worker in workers for server in worker.children()]
    cells = [cell for server in servers for cell in server.children()]
    return {"cluster": [cluster], "worker": workers, "server": servers, "cell process": cells}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "small.toml"
    path.write_text(suite_text(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("victim", "count"),
    [("worker", 14), ("worker", 30), ("server", 10), ("cell process", 5), ("cell process", 20), ("cluster", 14)],
)
@pytest.mark.full_except("worker-14")
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by how they are started on Linux")
def test_a_process_of_the_cluster_that_is_killed_is_replaced(suite, alone, tmp_path, victim, count):
    calls = tmp_path / "calls"
    with ending(run_of(suite, tmp_path / "out", calls)) as run:
        wait_for(calls, count, run)
        kin(run)[victim][-1].kill()
        _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    assert kept(tmp_path / "out") == kept(alone)


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_process_that_is_killed_while_the_cluster_starts(suite, alone, tmp_path):
    with ending(run_of(suite, tmp_path / "out", tmp_path / "calls")) as run:
        deadline = time.monotonic() + 60
        killed = False
        while not killed:
            assert time.monotonic() < deadline
            with contextlib.suppress(psutil.NoSuchProcess, StopIteration):
                cluster = next(child for child in psutil.Process(run.pid).children() if child.children())
                # the server from which workers are copied
                cluster.children()[-1].kill()
                killed = True
        _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    assert "Traceback" not in said
    assert kept(tmp_path / "out") == kept(alone)


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_run_that_is_killed_while_its_cluster_starts_leaves_nothing(suite, tmp_path):
    with ending(run_of(suite, tmp_path / "out", tmp_path / "calls")) as run:
        deadline = time.monotonic() + 60
        below = []
        while len(below) < 3:
            assert time.monotonic() < deadline
            below = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    # those that were started meanwhile are of the same session
    sessions = {each.pid for each in below}
    assert [each for each in psutil.pids() if psutil.pid_exists(each) and session_of(each) in sessions] == []


def session_of(number):
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(number)


@pytest.mark.parametrize("times", [2, 3])
def test_a_cell_process_that_does_not_start_is_tried_again(times):
    """The server that it is copied from may be killed at that moment."""
    started = []

    def start():
        started.append(1)
        if len(started) <= times:
            raise EOFError("unexpected end")
        return OwnPython()

    supervisor = Supervisor(Terms(UNLIMITED, worker_memory=False, setup=pickle.dumps(None), run="run"), start)
    reply = supervisor.do(b"no job", "model", bytes)
    supervisor.close()
    assert reply.tries == 3
    if times == 2:
        # it has come as far as reading the setup
        assert "AttributeError" in next(iter(reply.failures.values()))
    else:
        (failure,) = map(json.loads, reply.failures.values())
        assert failure["kind"] == "CrashError"
        assert "could not be started (EOFError: unexpected end). It was so in each of 3 tries." in failure["sentence"]


def test_a_cluster_that_never_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(local_cluster.sys, "executable", shutil.which("false"))
    with pytest.raises(
        UsageError, match=r"could not be started \(the process that starts them has ended\): use --jobs 1"
    ):
        small_benchmark().run(tmp_path, jobs=2)


@pytest.mark.full
@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_takes_its_processes_along(suite, alone, tmp_path, how, status):
    calls = tmp_path / "calls"
    with ending(run_of(suite, tmp_path / "out", calls)) as run:
        wait_for(calls, 14, run)
        below = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(how)
        _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == status
    if how != signal.SIGKILL:
        assert "cells are stored in" in said.splitlines()[-1]
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    assert command("run", suite, "--out", tmp_path / "out", "--jobs", "2").returncode == 0
    assert kept(tmp_path / "out") == kept(alone)


@pytest.mark.full
def test_the_processes_listen_on_loopback_only(suite, tmp_path):
    calls = tmp_path / "calls"
    with ending(run_of(suite, tmp_path / "out", calls)) as run:
        wait_for(calls, 3, run)
        processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        addresses = {
            connection.laddr.ip
            for process in processes
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        run.kill()
    assert addresses == {"127.0.0.1"}


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"jobs": 0}, "--jobs 0 is no number of processes"),
        ({"jobs": -2}, "--jobs -2 is no number of processes"),
        ({"scheduler": "localhost:8786"}, "--scheduler localhost:8786 is no address"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "There is no scheduler at tcp://127.0.0.1:9"),
        ({"device": "gpu"}, "The device 'gpu' cannot be used here"),
        ({"device": "cuda:99"}, "The device 'cuda:99' cannot be used here"),
        ({"time_limit": "soon"}, "soon"),
        ({"memory_limit": "much"}, "much"),
    ],
)
def test_refused(tmp_path, options, said):
    with pytest.raises(UsageError) as caught:
        small_benchmark().run(tmp_path, **options)
    assert said in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--jobs", "0"], "--jobs 0 is no number"),
        (["--jobs", "two"], "as an integer"),
        (["--tls-cert", "x.pem"], "are for --scheduler tls://"),
        (["--scheduler", "tls://127.0.0.1:9", "--tls-cert", "none.pem"], "--tls-cert none.pem: there is no such file"),
        (["--device", "tpu"], "The device 'tpu' cannot be used here"),
    ],
)
def test_refused_options(invoke, suite, tmp_path, options, said):
    status, _, error = invoke("run", suite, "--out", tmp_path / "out", *options)
    assert status == 2
    assert said in " ".join(error.replace("│", " ").split())
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.json"))


# ---- a cluster that is there already --------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_a_scheduler_and_workers_that_run_already(suite, alone, tmp_path, encrypted):
    certificates = make_certificates(tmp_path / "certificates") if encrypted else None
    # neither the files of the plug-ins nor the cache of the run are there
    elsewhere = {"XRNNBENCH_CACHE": str(tmp_path / "other-cache"), "HOME": str(tmp_path)}
    with dask_processes(tmp_path / "dask", 2, certificates, **elsewhere) as cluster:
        options = ["--scheduler", cluster.address, *(certificates.options if certificates else [])]
        done = command("run", suite, "--out", tmp_path / "out", *options)
        assert done.returncode == 0, done.stderr
        assert kept(tmp_path / "out") == kept(alone)
        if encrypted:
            refused = command("run", suite, "--out", tmp_path / "no", "--fresh", "--scheduler", cluster.address)
            assert refused.returncode == 2
            assert "There is no scheduler at tls://" in refused.stderr
            return
        with cluster.client() as client:
            run = small_benchmark().run(tmp_path / "python", scheduler=client)
            assert client.status == "running"
        assert run.complete
        assert kept(tmp_path / "python") == kept(alone)


@pytest.mark.full
def test_a_lost_worker_is_replaced_and_a_lost_scheduler_ends_the_run(suite, alone, tmp_path):
    calls = tmp_path / "calls"
    slow = {"XRNNBENCH_TEST_CALLS": str(calls), "XRNNBENCH_TEST_SLEEP": "0.2"}
    out = tmp_path / "out"
    with dask_processes(tmp_path / "dask", 2, **slow) as cluster:
        words = [sys.executable, "-m", "xrnnbench", "run", str(suite), "--out", str(out)]
        words += ["--scheduler", cluster.address]
        with ending(subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)) as run:
            wait_for(calls, 5, run)
            kill(cluster.workers[0])
            cluster.add_worker(**slow)
            wait_for(calls, 12, run)
            kill(cluster.scheduler)
            _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 2
        assert f"The scheduler {cluster.address} is gone" in said
        assert "the same command resumes" in said
    assert command("run", suite, "--out", out, "--jobs", "2").returncode == 0
    assert kept(out) == kept(alone)


@pytest.mark.full
def test_workers_with_other_code_are_refused(suite, tmp_path, monkeypatch):
    monkeypatch.setattr("xrnnbench.harness.execution.workers.terms.code_hash", lambda: "another")
    with pytest.raises(UsageError, match="A worker has another xrnnbench: install the same there as here"):
        small_benchmark().run(tmp_path, jobs=2)


def without_certificate(plain):
    """A connection by TLS of somebody who has no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def answer_of(host, port, dressed):
    """What a server says to somebody; nothing if it ends the connection."""
    with (
        contextlib.suppress(OSError),
        contextlib.closing(dressed(socket.create_connection((host, port), timeout=PATIENCE))) as connection,
    ):
        connection.sendall(b"x" * 64)
        return connection.recv(1)
    return b""


def test_nobody_else_is_let_into_the_local_cluster():
    with local_cluster.LocalCluster(1) as cluster:
        address, certificates = cluster.access
        assert address.startswith("tls://127.0.0.1:")
        assert all(text.startswith("-----BEGIN ") for text in certificates.values())
        host, port = address.removeprefix("tls://").split(":")
        for dressed in (lambda plain: plain, without_certificate):
            # at most the first byte of an alert of TLS
            assert answer_of(host, int(port), dressed) in {b"", b"\x15"}
        security = distributed.Security(**certificates, require_encryption=True)
        with distributed.Client(address, security=security, timeout=PATIENCE) as client:
            (worker,) = client.scheduler_info()["workers"]
            assert worker.startswith("tls://127.0.0.1:")
