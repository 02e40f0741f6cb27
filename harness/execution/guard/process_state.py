"""State of this process that a plug-in must leave as it was: what of it is compared, and how it is restored.

A plug-in shares the process with the other plug-ins and with the run itself. What it changes and does not change back
would change what others compute, or where they write. Each :class:`Aspect` is one such thing. Reading all of them takes
a few hundredths of a millisecond.

A library that is imported for the first time may set up its own environment. If a third-party package was imported
inside, additions to the environment, to the filters of warnings and to ``sys.path`` stay, and settings that some
libraries change when they are loaded are restored without a word.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import locale
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable  # a dataclass has it in its annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from torch.nn.modules import module as torch_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.autograd.grad_mode import inference_mode


@dataclass(frozen=True)
class Aspect:
    """One thing that a plug-in must leave as it was.

    Attributes:
        name: what it is, in words.
        read: gives its present value, which is compared by ``==``; must not be changed by what happens afterwards.
        write: sets a value that was read before.
        at_import: what a package may do that is imported for the first time: nothing (``""``), ``"add"`` to it, or
            ``"set"`` it; what is set is restored.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    at_import: Literal["", "add", "set"] = ""


@dataclass(frozen=True)
class ProcessState:
    """State of the process at one moment.

    Attributes:
        values: values of the aspects, in their order.
        modules: names of the modules that were imported.
        main: whether it was read in the main thread, which alone may set signal handlers.
    """

    values: tuple[Any, ...]
    modules: frozenset[str]
    main: bool

    @classmethod
    def now(cls) -> ProcessState:
        """The present state."""
        values = tuple(aspect.read() for aspect in ASPECTS)
        return cls(values, frozenset(sys.modules), threading.current_thread() is threading.main_thread())

    def restore(self) -> list[str]:
        """Restore what has changed since.

        Returns:
            the names of what had changed, without what an imported package may change.
        """
        changed = []
        imported: bool | None = None
        for aspect, before in zip(ASPECTS, self.values, strict=True):
            after = aspect.read()
            if after == before or (aspect.name == _SIGNALS and not self.main):
                continue
            if imported is None:
                imported = self._imported()
            accepted = imported and _is_accepted(aspect, before, after)
            if not (accepted and aspect.at_import == "add"):
                aspect.write(before)
            changed += [] if accepted else [aspect.name]
        return changed

    def _imported(self) -> bool:
        """Whether a third-party package was imported for the first time since."""
        new = {name.partition(".")[0] for name in frozenset(sys.modules) - self.modules}
        known = {name.partition(".")[0] for name in self.modules}
        own = {__name__.partition(".")[0]}
        return any(
            name not in known | own | sys.stdlib_module_names and not name.startswith("xrnnbench_files_")
            for name in new
        )


def _is_accepted(aspect: Aspect, before: Any, after: Any) -> bool:  # noqa: ANN401  # of any aspect
    """Whether a package that is imported for the first time may change a value so."""
    if aspect.at_import != "add":
        return bool(aspect.at_import)
    if isinstance(before, dict):
        return bool(before.items() <= after.items())
    return all(each in after for each in before)


# ---- what is compared ------------------------------------------------------------------------------------------------


def _directory() -> str | None:
    """Working directory; None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109  # a path is not needed
    except FileNotFoundError:
        return None


def _go_to(directory: str | None) -> None:
    if directory is not None:
        with contextlib.suppress(OSError):  # it was deleted inside
            os.chdir(directory)


def _set_environment(before: dict[Any, Any]) -> None:
    current = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  # as in _environment
    for name in set(current) - set(before):
        del os.environ[_decoded(name)]
    for name, value in before.items():
        if current.get(name) != value:
            os.environ[_decoded(name)] = _decoded(value)


def _environment() -> dict[Any, Any]:
    # not dict(os.environ), which decodes each variable: a hundred times slower
    return dict(os.environ._data)  # type: ignore[attr-defined]  # noqa: SLF001


def _decoded(value: Any) -> str:  # noqa: ANN401  # bytes, or a text on Windows
    return os.fsdecode(value)


def _umask() -> int:
    # the mask can be read only by setting it; a file that another thread makes meanwhile is private
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _NUMBERS}


def _set_signal_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        # a handler that was not set by Python cannot be set again
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _filters() -> list[Any]:
    return list(warnings.filters)


def _set_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]  # a list, whatever its stub says
    warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001  # as catch_warnings does


def _set_path(before: list[str]) -> None:
    sys.path[:] = before


def _hooks() -> tuple[list[dict[Any, Any]], bool | None]:
    return [dict(table) for table in _HOOK_TABLES], torch_module._global_is_full_backward_hook  # noqa: SLF001


def _set_hooks(before: tuple[list[dict[Any, Any]], bool | None]) -> None:
    for table, content in zip(_HOOK_TABLES, before[0], strict=True):
        table.clear()
        table.update(content)
    torch_module._global_is_full_backward_hook = before[1]  # noqa: SLF001  # torch never unsets it by itself


def _builtins() -> dict[str, Any]:
    values = dict(vars(builtins))
    values.pop("_", None)  # the last value of an interactive session
    return values


def _set_builtins(before: dict[str, Any]) -> None:
    for name in set(vars(builtins)) - set(before) - {"_"}:
        delattr(builtins, name)
    for name, value in before.items():
        if vars(builtins).get(name) is not value:
            setattr(builtins, name, value)


_HELD: list[inference_mode] = []


def _set_inference_mode(before: bool) -> None:  # noqa: FBT001  # written as it was read
    # torch has no setter: the mode is a context, which here is left open
    context = torch.inference_mode(before)
    context.__enter__()  # as above
    _HELD.append(context)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _flushes_denormals() -> bool:
    # the setting is one of the processor, which Python's own numbers show too
    return _SMALLEST[0] * _ONE[0] == 0.0


def _cudnn() -> tuple[Any, ...]:
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, bool(mkldnn.enabled)


def _set_cudnn(before: tuple[Any, ...]) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = before[:4]
    setattr(torch.backends.mkldnn, "enabled", before[4])  # noqa: B010  # torch types it as what it is inside


def _set_threads(count: int) -> None:
    torch.set_num_threads(count)


def _decimals() -> dict[str, Any]:
    # without its flags, which say what has happened
    context = decimal.getcontext()
    values = {name: getattr(context, name) for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")}
    return values | {"traps": dict(context.traps)}


def _set_decimals(before: dict[str, Any]) -> None:
    decimal.setcontext(decimal.Context(**before | {"traps": dict(before["traps"])}))


def _set_locale(before: str) -> None:
    locale.setlocale(locale.LC_ALL, before)


def _set_float_errors(before: dict[str, Any]) -> None:
    np.seterr(**before)


def _numbers() -> Iterator[int]:
    """Numbers of the signals that this system has and whose handlers a program may set."""
    for name in (
        "SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE", "SIGQUIT", "SIGPROF",
        "SIGVTALRM", "SIGABRT", "SIGBREAK",
    ):  # fmt: skip
        if (number := getattr(signal, name, None)) is not None:
            yield int(number)


_NUMBERS: Final = tuple(_numbers())
_HOOK_TABLES: Final = tuple(
    table for name, table in vars(torch_module).items() if name.startswith("_global_") and isinstance(table, dict)
)
# the operands stand in lists, so that no compiler computes their product beforehand
_SMALLEST, _ONE = [5e-324], [1.0]
_SIGNALS: Final = "the handlers of signals"

ASPECTS: Final = (
    # first, because restoring the others is Python code too
    Aspect("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, "set"),
    Aspect("the trace function of Python", sys.gettrace, sys.settrace),
    Aspect("the profile function of Python", sys.getprofile, sys.setprofile),
    Aspect("the trace function of new threads", threading.gettrace, threading.settrace),
    Aspect("the profile function of new threads", threading.getprofile, threading.setprofile),
    Aspect(_SIGNALS, _signal_handlers, _set_signal_handlers, "set"),
    Aspect("Python's built-in functions", _builtins, _set_builtins, "add"),
    Aspect("the working directory", _directory, _go_to),
    Aspect("the environment variables", _environment, _set_environment, "add"),
    Aspect("the mask of new files (umask)", _umask, os.umask),
    Aspect("the path of imports (sys.path)", lambda: list(sys.path), _set_path, "add"),
    Aspect("the filters of warnings", _filters, _set_filters, "add"),
    Aspect("the locale", lambda: locale.setlocale(locale.LC_ALL), _set_locale, "set"),
    Aspect("the context of decimal numbers", _decimals, _set_decimals, "set"),
    Aspect("how NumPy treats floating-point errors", np.geterr, _set_float_errors, "set"),
    Aspect("whether denormal numbers are flushed to 0", _flushes_denormals, torch.set_flush_denormal, "set"),
    Aspect("torch's inference mode", torch.is_inference_mode_enabled, _set_inference_mode),
    Aspect("whether torch records gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    Aspect("torch's detection of anomalies", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    Aspect("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Aspect("torch's default device", torch.get_default_device, torch.set_default_device),
    Aspect("torch's number of threads", torch.get_num_threads, _set_threads, "set"),
    Aspect("torch's deterministic algorithms", _deterministic, _set_deterministic),
    Aspect("torch's precision of products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    Aspect("torch's settings of cuDNN and oneDNN", _cudnn, _set_cudnn),
    Aspect("torch's hooks of all modules", _hooks, _set_hooks),
)
