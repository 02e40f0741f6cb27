"""The processes of dask.distributed that other tests run with: they compute, refuse strangers, and leave nothing."""

import operator
import os

import distributed
import psutil
import pytest

from .dask_processes import dask_processes, make_certificates


def test_a_client_computes_and_nothing_is_left(tmp_path):
    with dask_processes(tmp_path, workers=2, XRNNBENCH_TEST_WORD="here") as cluster:
        assert cluster.address.startswith("tcp://127.0.0.1:")
        with cluster.client() as client:
            assert client.submit(operator.add, 1, 2).result(timeout=60) == 3
            words = client.run(os.getenv, "XRNNBENCH_TEST_WORD")
            assert list(words.values()) == ["here", "here"]
            found = client.run(os.getpid)
            assert sorted(found.values()) == sorted(worker.pid for worker in cluster.workers)
        processes = [cluster.scheduler, *cluster.workers]
        listening = {
            each.laddr.ip
            for process in processes
            for each in psutil.Process(process.pid).net_connections()
            if each.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    assert not any(psutil.pid_exists(process.pid) for process in processes)


def test_a_worker_that_is_killed_stays_away_and_another_is_added(tmp_path):
    with dask_processes(tmp_path, workers=1) as cluster, cluster.client() as client:
        (first,) = cluster.workers
        first.kill()
        first.wait()
        second = cluster.add_worker()
        assert client.submit(os.getpid, pure=False).result(timeout=60) == second.pid


def test_strangers_are_refused_over_tls(tmp_path):
    ours = make_certificates(tmp_path / "ours")
    theirs = make_certificates(tmp_path / "theirs")
    with dask_processes(tmp_path / "cluster", workers=1, certificates=ours) as cluster:
        assert cluster.address.startswith("tls://127.0.0.1:")
        with cluster.client() as client:
            assert client.submit(operator.mul, 6, 7).result(timeout=60) == 42
        # without certificates, without encryption, and by certificates of another authority
        refused(TypeError, "TLS", cluster.address)
        refused(OSError, "closed", cluster.address.replace("tls://", "tcp://"))
        refused(OSError, "TLS certificate does not match", cluster.address, security=theirs.security())


def refused(kind, words, address, **options):
    """Check that a client is refused; dask gives a thread of its own ten seconds, which a busy machine may not."""
    for tries_left in reversed(range(5)):
        try:
            with pytest.raises(kind, match=words):
                distributed.Client(address, timeout=5, **options)
        except AssertionError:
            if not tries_left:
                raise
        else:
            return
