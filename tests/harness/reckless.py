"""Methods that change their process, loaded as a file: what happens to each is in test_plugin_call.py."""

import builtins
import contextlib
import ctypes
import decimal
import os
import random
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from xrnnbench import Explainer


class Weird(BaseException):
    pass


class NoTextError(Exception):
    def __str__(self):
        raise SystemExit(7)


class NumberError(Exception):
    def __str__(self):
        return 5  # noqa: PLE0307  # its fault


class EndlessError(Exception):
    def __str__(self):  # noqa: PLE0307  # its fault
        while True:
            pass


def chain():
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def recurse():
    recurse()


def fail(error):
    raise error


def swallow():
    for _ in range(2):
        with contextlib.suppress(BaseException):
            time.sleep(60)


def leave_thread():
    threading.Thread(target=time_out, daemon=True).start()


def time_out():
    for _ in range(1000):
        time.sleep(0.01)


def change_later(subject):
    def change():
        time.sleep(0.05)
        for parameter in subject.model.parameters():
            parameter.data.add_(1)

    threading.Thread(target=change, daemon=True).start()


def ring():
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(0.1)


def close_descriptors():
    for number in range(3, 60):
        with contextlib.suppress(OSError):
            os.close(number)


def set_path():
    sys.path.append("/nowhere")


def set_precision():
    decimal.getcontext().prec = 3


def set_environment():
    os.environ["XRNNBENCH_RECKLESS"] = "1"


CHANGES = {
    "directory": lambda: os.chdir("/"),
    "environment": set_environment,
    "umask": lambda: os.umask(0o777),
    "recursion": lambda: sys.setrecursionlimit(500),
    "path": set_path,
    "filters": lambda: warnings.filterwarnings("ignore", message="anything"),
    "handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 0.05),
    "rung": ring,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "denormal": lambda: torch.set_flush_denormal(True),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "gradients": lambda: torch.set_grad_enabled(False),
    "products": lambda: torch.set_float32_matmul_precision("medium"),
    "hooks": lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    "errors": lambda: np.seterr(all="ignore"),
    "decimals": set_precision,
    "builtins": lambda: setattr(builtins, "nothing", 1),
    "thread": leave_thread,
}

ERRORS = {
    "weird": lambda: fail(Weird("w")),
    "exit": lambda: sys.exit(0),
    "generator": lambda: fail(GeneratorExit()),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "no text": lambda: fail(NoTextError()),
    "number": lambda: fail(NumberError()),
    "signs": lambda: fail(ValueError("a\0b\x1b[31m\ud800\u202e")),
    "long": lambda: fail(ValueError("x" * 50_000_000)),
    "chain": chain,
    "recursion": recurse,
    "group": lambda: fail(BaseExceptionGroup("both", [Weird("inner"), NoTextError()])),
    "memory": lambda: np.ones(1 << 50),
}


@dataclass(frozen=True)
class Reckless(Explainer):
    """The inputs, after doing something.

    Cost: none.
    Fails where: asked.
    """

    name: ClassVar[str] = "reckless"
    what: str = ""

    def attribute(self, subject, rng):
        if self.what == "global":
            return torch.from_numpy(np.random.rand(*subject.shape)).float() * random.random()  # noqa: NPY002, S311
        if self.what == "later":
            change_later(subject)
        elif self.what == "crash":
            ctypes.string_at(0)
        elif self.what:
            (CHANGES | ERRORS | {"close": close_descriptors})[self.what]()
        return subject.continuous().batch.inputs.clone()
