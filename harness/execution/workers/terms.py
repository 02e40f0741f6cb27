"""Terms of a run that its workers need: what a cell process loads first, and the limits that its worker keeps."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from ....errors import UsageError
from ....file_modules import FilesOfFolder, loaded_files
from ....plugins import take_files
from ....tasks.models import published
from ...results.provenance import code_hash, versions
from ..guard.limits import Limits


@dataclass(frozen=True)
class Terms:
    """Terms of a run, sent to each worker once.

    Attributes:
        limits: of each call of a plug-in.
        worker_memory: whether the memory limit is that of the worker, which only the worker knows.
        setup: what the cell process loads, see :class:`Setup`; pickled, because the worker itself loads no plug-in.
        run: names the run, with which a cell process ends that is kept for the next job.
    """

    limits: Limits
    worker_memory: bool
    setup: bytes
    run: str

    @classmethod
    def of_this_process(cls, threads: int, limits: Limits, device: str = "", *, worker_memory: bool = False) -> Terms:
        """Terms for workers that shall compute what this process would."""
        own = Limits(limits.seconds, None) if worker_memory else limits
        setup = cloudpickle.dumps(Setup.of_this_process(device, threads, own))
        return cls(limits, worker_memory, setup, uuid.uuid4().hex)


@dataclass(frozen=True)
class Setup:
    """Setup of a cell process before its first job.

    Attributes:
        code: hash of the code of xrnnbench, which must be the same.
        versions: versions of the libraries, which must be the same.
        models: hash of the list of published models, which must be the same.
        path: ``sys.path``; folders that exist there too are searched last.
        files: files of plug-ins that were given by their paths, with their neighbours.
        device: device that models are moved to; empty for none.
        threads: intra-op threads.
        limits: of each call of a plug-in, as far as the process keeps them itself.
    """

    code: str
    versions: dict[str, str]
    models: str
    path: tuple[str, ...]
    files: tuple[FilesOfFolder, ...]
    device: str
    threads: int
    limits: Limits

    @classmethod
    def of_this_process(cls, device: str, threads: int, limits: Limits) -> Setup:
        """Setup of this process."""
        return cls(
            code_hash(), versions(), published.manifest_hash(), tuple(sys.path), loaded_files(), device, threads, limits
        )

    def apply(self) -> None:
        """Make this process one that computes the same.

        Raises:
            UsageError: it has other code or other libraries, or lacks the device.
        """
        differing = _differing(self.versions, versions())
        if self.code != code_hash():
            differing.insert(0, "another xrnnbench")
        if self.models != published.manifest_hash():
            differing.append("other published models")
        if differing:
            raise UsageError(f"A worker has {', '.join(differing)}: install the same there as here, and run again.")
        sys.path += [folder for folder in self.path if folder not in sys.path and (not folder or Path(folder).is_dir())]
        take_files(self.files)
        # torch is loaded by the cell process, and not by the worker that reads this module too
        from ....tasks.engine.threads import set_threads  # noqa: PLC0415
        from ..device import check_device  # noqa: PLC0415

        set_threads(self.threads)
        if self.device:
            check_device(self.device)


def _differing(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Libraries of another version, in words."""
    names: list[Any] = sorted(ours.keys() | theirs.keys())
    return [
        f"{name} {theirs.get(name, 'missing')} (here {ours.get(name, 'missing')})"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
