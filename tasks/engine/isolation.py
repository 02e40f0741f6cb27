"""Isolation of a user's model: :func:`undisturbed` restores its state after it has been explained.

Explaining needs evaluation mode, gradients, hooks and random numbers, but the model belongs to the user. Restored, also
after an exception, are the mode of every sub-module, ``requires_grad`` and ``grad`` of every parameter, all hooks,
parameters and buffers, the data, the global random states of torch, NumPy and Python, Python's recursion limit, and
torch's global settings (cuDNN flags, default dtype, threads, deterministic algorithms). Threads that are left running
are stopped first.

A changed weight is not only restored but reported as an error: a method that trains the model it explains explains
another one. The same holds for the data, which all methods share. The cost is one copy of both, which is small compared
with the activations of a batch.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ...errors import ContractError
from .stray_threads import left_running, running_threads, stop_strays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

# Modules whose training mode differs from evaluation mode only by dropout between layers.
_FUSED = frozenset({nn.RNN, nn.LSTM, nn.GRU})

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
# torch sets it with the first full backward hook and never unsets it; the module then refuses hooks of the older kind
_HOOK_KIND = "_is_full_backward_hook"


@contextmanager
def undisturbed(model: nn.Module, doer: str = "", data: Mapping[str, Tensor] | None = None) -> Iterator[None]:
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

    Raises:
        ContractError: a parameter, a buffer or the data was changed inside, and has been restored; or a thread was left
            running, and has been told to stop.
    """
    data_pairs = {name: (tensor, tensor.detach().clone()) for name, tensor in (data or {}).items()}
    modes = {module: module.training for module in model.modules()}
    parameters = {parameter: (parameter.requires_grad, parameter.grad) for parameter in model.parameters()}
    weights = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
    dropouts = {module: module.dropout for module in model.modules() if isinstance(module, nn.RNNBase)}
    hooks = {module: {name: _copy_hooks(getattr(module, name, None)) for name in _HOOKS} for module in model.modules()}
    kinds = {module: getattr(module, _HOOK_KIND, None) for module in model.modules()}
    settings = _settings()
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
        for module, mode in modes.items():
            module.training = mode
        for recurrent, dropout in dropouts.items():
            recurrent.dropout = dropout
        for parameter, (requires_grad, grad) in parameters.items():
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        _restore_hooks(hooks)
        for module, kind in kinds.items():
            setattr(module, _HOOK_KIND, kind)
        _restore_settings(settings)
        changed = _restore_tensors({f"{name} of the model": pair for name, pair in _pairs(model, weights)} | data_pairs)
    if changed_recursion and doer:
        raise ContractError(f"{doer} changed Python's recursion limit; it has been restored.")
    if strays:
        raise ContractError(left_running(doer, strays))
    if changed and doer:
        raise ContractError(f"{doer} changed {changed[0]} it explains; it has been restored.")
    if changed:
        raise ContractError(f"Running the model changes {changed[0]}: explain a copy of it that stays as it is.")


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


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _copy_hooks(hooks: Any) -> OrderedDict[int, Any] | None:  # noqa: ANN401  # torch types its hook tables as Any
    return None if hooks is None else OrderedDict(hooks)


def _restore_hooks(hooks: dict[nn.Module, dict[str, OrderedDict[int, Any] | None]]) -> None:
    for module, tables in hooks.items():
        for name, table in tables.items():
            current = getattr(module, name, None)
            if table is not None and current is not None and dict(current) != dict(table):
                current.clear()
                current.update(table)


def _pairs(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Each tensor of the model that existed before, paired with its earlier copy."""
    return ((name, (tensor, weights[name])) for name, tensor in _tensors(model) if name in weights)


def _restore_tensors(tensors: dict[str, tuple[Tensor, Tensor]]) -> list[str]:
    """Restore tensors from their copies; return the names of those that had changed."""
    changed = []
    with torch.no_grad():
        for name, (tensor, before) in tensors.items():
            if not torch.equal(tensor, before):
                changed += [name] if not _same(tensor, before) else []
                tensor.copy_(before)
    return changed


def _same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal, NaN being equal to NaN: NaN weights of a user's model are no change."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())


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
