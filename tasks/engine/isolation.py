"""Isolation of a user's model: :func:`undisturbed` restores its state after it has been explained.

Explaining needs evaluation mode, gradients, hooks and random numbers, but the model belongs to the user. Restored, also
after an exception, are the mode of every sub-module, ``requires_grad`` and ``grad`` of every parameter, all hooks,
parameters and buffers, the structure, the attributes, the data, the global random states of torch, NumPy and Python,
Python's recursion limit, and torch's global settings (cuDNN flags, default dtype, threads, deterministic algorithms).
Threads that are left running are stopped first.

A changed weight is not only restored but reported as an error: a method that trains the model it explains explains
another one. The same holds for a replaced layer, another ``forward``, a changed attribute, and the data, which all
methods share. Only attributes that the model's own ``forward`` writes are nobody's doing; they stay as they are. The
cost is one copy of weights and data, which is small compared with the activations of a batch.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from ...errors import ContractError
from .snapshot import Snapshot
from .snapshot_parts import TABLES
from .stray_threads import left_running, running_threads, stop_strays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from .snapshot_parts import Place

# Modules whose training mode differs from evaluation mode only by dropout between layers.
_FUSED = frozenset({nn.RNN, nn.LSTM, nn.GRU})

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
# torch sets it with the first full backward hook and never unsets it; the module then refuses hooks of the older kind
_HOOK_KIND = "_is_full_backward_hook"
# Attributes of modules that everybody may change: they are restored without a word.
_RESTORED: Final = frozenset({*_HOOKS, _HOOK_KIND, "training", "dropout"})
# Attributes that a module was seen to write when it was only run.
_WRITTEN: Final[WeakKeyDictionary[nn.Module, set[str]]] = WeakKeyDictionary()


@contextmanager
def undisturbed(
    model: nn.Module,
    doer: str = "",
    data: Mapping[str, Tensor] | None = None,
    run: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Context in which a model is in evaluation mode and may be used freely; its state is restored on exit.

    On a GPU cuDNN's recurrent kernels refuse gradients in evaluation mode. The usual ways out are slow or wrong:
    without cuDNN a step of a sequence takes a dozen kernels, and ``model.train()`` explains a model with active
    dropout. Here only the recurrent modules are in training mode, with their dropout at 0, which computes the same as
    evaluation mode. cuDNN does not round to TF32 inside: its errors of 1e-3 would be mistaken for the effect of
    removing a feature.

    Args:
        model: the module to protect.
        doer: name of the code that works inside, for the error message; empty if only the model itself runs.
        data: tensors that must not be changed either, by name.
        run: runs the model as it is used, in such a context without a doer; by this it is told which attributes its
            own ``forward`` writes. If it is not given, changed attributes that are no functions are nobody's doing.

    Raises:
        ContractError: the model or the data was changed inside, and has been restored; or a thread was left running,
            and has been told to stop.
    """
    snapshot = Snapshot({"the model": model, **(data or {})}, skip=_RESTORED)
    marks, settings = _ModelMarks(model), _settings()
    recursion, threads = sys.getrecursionlimit(), running_threads()
    strays: tuple[str, ...] = ()
    try:
        model.eval()
        with same_randomness(), _exact_cudnn(usable=_enable_cudnn_gradients(model)):
            yield
    finally:
        # first: a low limit would stop what restores the model, and a thread may still change it
        changed_recursion = sys.getrecursionlimit() != recursion
        sys.setrecursionlimit(recursion)
        strays = stop_strays(threads) if doer else ()
        marks.restore()
        _restore_settings(settings)
        changed = undone(snapshot, doer, run)
    if changed_recursion and doer:
        raise ContractError(f"{doer} changed Python's recursion limit; it has been restored.")
    if strays:
        raise ContractError(left_running(doer, strays))
    if changed and doer:
        raise ContractError(f"{doer} changed {changed[0]} it explains; it has been restored.")
    if changed:
        raise ContractError(f"Running the model changes {changed[0]}: explain a copy of it that stays as it is.")


class _ModelMarks:
    """Marks of a model that everybody may change: modes, dropouts, hooks, ``requires_grad`` and gradients."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._modes = {module: module.training for module in modules}
        self._parameters = {parameter: _marks(parameter) for parameter in model.parameters()}
        self._dropouts = {module: module.dropout for module in modules if isinstance(module, nn.RNNBase)}
        self._hooks = {
            module: {name: _copy_hooks(getattr(module, name, None)) for name in _HOOKS} for module in modules
        }
        self._kinds = {module: getattr(module, _HOOK_KIND, None) for module in modules}

    def restore(self) -> None:
        """Set them as they were."""
        for module, mode in self._modes.items():
            module.training = mode
        for recurrent, dropout in self._dropouts.items():
            recurrent.dropout = dropout
        for parameter, (requires_grad, grad, own_hooks) in self._parameters.items():
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
            if own_hooks != parameter._backward_hooks:  # noqa: SLF001  # as in _marks
                parameter._backward_hooks = own_hooks  # noqa: SLF001  # as in _marks
        _restore_hooks(self._hooks)
        for module, kind in self._kinds.items():
            setattr(module, _HOOK_KIND, kind)


def _enable_cudnn_gradients(model: nn.Module) -> bool:
    """Prepare the recurrent modules on a GPU for gradients through cuDNN.

    The training mode of a subclass or a scripted module may do anything, so a model with one is run without cuDNN.

    Returns:
        whether cuDNN can be used; if not, no module was changed.
    """
    recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase) and _on_gpu(module)]
    scripted = any(isinstance(module, torch.jit.ScriptModule) and _on_gpu(module) for module in model.modules())
    if scripted or not all(type(module) in _FUSED for module in recurrent):
        return False
    for module in recurrent:
        module.training, module.dropout = True, 0.0
    return True


def _on_gpu(module: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in module.parameters())


@contextmanager
def _exact_cudnn(*, usable: bool) -> Iterator[None]:
    """Context with cuDNN in full precision; off if it is not usable, or if the user has switched it off."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=usable and cudnn.enabled, benchmark=False, deterministic=cudnn.deterministic, allow_tf32=False
    ):
        yield


@contextmanager
def same_randomness() -> Iterator[None]:
    """Context that restores the global random states of torch (CPU, and GPU if in use), NumPy and Python on exit."""
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = torch.cuda.get_rng_state_all() if used else []
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  # the global state is kept
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  # as above
        random.setstate(states[2])
        if used:
            torch.cuda.set_rng_state_all(devices)


def seed_generators(seed: int) -> None:
    """Seed the global random generators of torch (CPU and GPU), NumPy and Python; :func:`same_randomness` undoes it.

    Args:
        seed: any whole number; NumPy's generator takes its last 32 bits.
    """
    torch.manual_seed(seed)
    seed_beside_torch(seed)


def seed_beside_torch(seed: int) -> None:
    """Seed the global random generators of NumPy and Python only, as :func:`seed_generators` does."""
    np.random.seed(seed % 2**32)  # noqa: NPY002  # code of others draws from the global generator
    random.seed(seed)


def _marks(parameter: nn.Parameter) -> tuple[bool, Tensor | None, OrderedDict[int, Any] | None]:
    """What a parameter has besides its values: whether it requires gradients, its gradient, and its hooks."""
    # torch has no public access to hooks
    return parameter.requires_grad, parameter.grad, _copy_hooks(parameter._backward_hooks)  # noqa: SLF001


def _copy_hooks(hooks: Any) -> OrderedDict[int, Any] | None:  # noqa: ANN401  # torch types its hook tables as Any
    return None if hooks is None else OrderedDict(hooks)


def _restore_hooks(hooks: dict[nn.Module, dict[str, OrderedDict[int, Any] | None]]) -> None:
    for module, tables in hooks.items():
        for name, table in tables.items():
            current = getattr(module, name, None)
            if table is not None and current is not None and dict(current) != dict(table):
                current.clear()
                current.update(table)


def undone(snapshot: Snapshot, doer: str, run: Callable[[], object] | None) -> list[Place]:
    """Undo what somebody has changed since a snapshot.

    Args:
        snapshot: the snapshot; it has the model and whatever else must not be changed.
        doer: see :func:`undisturbed`.
        run: see there.

    Returns:
        the changed places, without the attributes that the model's own ``forward`` writes.
    """
    changed = _blamed(snapshot)
    if not doer:
        # only the model has run, so these are its own
        for place in filter(_is_attribute, changed):
            _WRITTEN.setdefault(place.module, set()).add(place.attribute)  # type: ignore[arg-type]  # an attribute has one
        changed = _blamed(snapshot)
    elif run is None:
        changed = [place for place in changed if not _is_attribute(place) or snapshot.functional(place)]
    elif any(_is_attribute(place) and not snapshot.functional(place) for place in changed):
        snapshot.restore()
        run()
        changed = [place for place in changed if not _is_written(place)]
    if changed:
        snapshot.restore()
    return changed


def _blamed(snapshot: Snapshot) -> list[Place]:
    """Changed places, without the attributes that modules write themselves."""
    return [place for place in snapshot.changed() if not _is_written(place)]


def _is_written(place: Place) -> bool:
    """Whether a place is an attribute that its module was seen to write."""
    return place.module is not None and place.attribute in _WRITTEN.get(place.module, ())


def _is_attribute(place: Place) -> bool:
    """Whether a place is an attribute of a module, and none of its layers, parameters, buffers or functions."""
    return place.module is not None and place.attribute not in {*TABLES, "__class__", "forward"}


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _settings() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    return flags, torch.get_default_dtype(), torch.get_num_threads(), _deterministic()


def _restore_settings(settings: tuple[Any, ...]) -> None:
    flags, dtype, threads, deterministic = settings
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags
    torch.set_default_dtype(dtype)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # only if they differ: setting them loads torch's compiler, which takes a fifth of the time of a small run
    if _deterministic() != deterministic:
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
