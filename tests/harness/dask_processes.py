"""A scheduler and workers of dask.distributed, each a process of its own on this machine, with or without TLS.

    with dask_processes(tmp_path, workers=2) as cluster:
        command("run", suite, "--scheduler", cluster.address)

Ports are chosen by the system. At the end all processes are killed, with all that they have started.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import distributed
import psutil

# Seconds in which a process has to be ready, on a machine with much else to do.
PATIENCE = 120
# Without an address of its own the HTTP server of a process listens to every machine, dashboard or not.
HERE = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
# Usages that Python 3.13 asks for: it checks certificates strictly.
_AUTHORITY = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]


@dataclasses.dataclass(frozen=True)
class Certificates:
    """Files of an authority, and of one key that it has signed, for scheduler, workers and clients alike."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def options(self):
        """Options of ``dask scheduler``, ``dask worker`` and ``xrnnbench run``."""
        return ["--tls-ca-file", self.authority, "--tls-cert", self.certificate, "--tls-key", self.key]

    def security(self):
        """The same for a client in Python."""
        return distributed.Security(
            tls_ca_file=str(self.authority),
            tls_client_cert=str(self.certificate),
            tls_client_key=str(self.key),
            require_encryption=True,
        )


def make_certificates(folder):
    """Make certificates by the command openssl, which the test is skipped without."""
    if shutil.which("openssl") is None:
        import pytest  # noqa: PLC0415  # the helper also serves scripts

        pytest.skip("there is no openssl")
    folder.mkdir(parents=True, exist_ok=True)
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    _openssl(folder, *new, "-subj", "/CN=authority", *_AUTHORITY, "-keyout", "ca-key.pem", "-out", "ca.pem")
    signed = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-extensions", "v3_req"]
    _openssl(folder, *new, "-subj", "/CN=xrnnbench", *signed, "-keyout", "key.pem", "-out", "cert.pem")
    return Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


def _openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)  # noqa: S607  # whichever there is


@dataclasses.dataclass
class Cluster:
    """A scheduler with its workers.

    Attributes:
        address: of the scheduler, such as tcp://127.0.0.1:41234.
        scheduler: its process.
        workers: theirs, one for each.
        folder: folder of the logs ``scheduler.log`` and ``worker-N.log``.
    """

    address: str
    scheduler: subprocess.Popen
    workers: list
    folder: Path
    certificates: Certificates | None

    def add_worker(self, **environment):
        """Start one more worker, and wait until it has registered."""
        number = len(self.workers)
        words = ["worker", self.address, *HERE, "--no-nanny", "--nthreads", "1", "--memory-limit", "0"]
        words += ["--local-directory", self.folder / f"worker-{number}", "--death-timeout", "60"]
        log = self.folder / f"worker-{number}.log"
        self.workers.append(_started(words, self.certificates, log, environment))
        _until(lambda: "Registered to" in log.read_text("utf-8"), self.workers[-1], log)
        return self.workers[-1]

    def client(self, **options):
        """Make a client of the scheduler."""
        security = self.certificates.security() if self.certificates else None
        return distributed.Client(self.address, security=security, timeout=PATIENCE, **options)


@contextlib.contextmanager
def dask_processes(folder, workers=2, certificates=None, **environment):
    """Context with a scheduler and workers.

    Args:
        folder: for logs and scratch files; one for each cluster.
        workers: the number of workers, of one thread each and without a nanny: one that is killed stays away.
        certificates: those for TLS, see :func:`make_certificates`; None for plain connections.
        environment: environment variables of all processes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log, file = folder / "scheduler.log", folder / "scheduler.json"
    words = ["scheduler", *HERE, "--port", "0", *(["--protocol", "tls"] if certificates else [])]
    started = []
    try:
        scheduler = _started([*words, "--scheduler-file", file], certificates, log, environment)
        started.append(scheduler)
        _until(lambda: _address(file), scheduler, log)
        cluster = Cluster(_address(file), scheduler, started[1:], folder, certificates)
        try:
            for _ in range(workers):
                cluster.add_worker(**environment)
            yield cluster
        finally:
            started += cluster.workers
    finally:
        for process in reversed(started):
            kill(process)


def kill(process):
    """Kill a process, all of its group and all that it has started, and wait for its end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(family, timeout=PATIENCE)
    process.wait(timeout=PATIENCE)


def _started(words, certificates, log, environment):
    """Start a command of dask in a group of its own."""
    words = [sys.executable, "-m", "dask", *words, *(certificates.options if certificates else [])]
    with log.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            [str(word) for word in words],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _address(file):
    """Address in the file of a scheduler; empty if it is not written yet."""
    try:
        return json.loads(file.read_text("utf-8"))["address"]
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


def _until(ready, process, log):
    """Wait until something is ready; an AssertionError has the log if it never is."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, log.read_text("utf-8")
        assert time.monotonic() < deadline, log.read_text("utf-8")
        time.sleep(0.02)
