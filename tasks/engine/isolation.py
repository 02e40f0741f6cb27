"""Leave no trace: whatever is done with a model inside :func:`undisturbed`, afterwards it is as it was before.

Explaining needs evaluation mode, gradients, hooks and random numbers; the model belongs to somebody else. What is
restored, also after an exception: the mode of every sub-module, ``requires_grad`` and ``grad`` of every parameter,
all hooks, parameters and buffers, the data, the global random states of torch, NumPy and Python, and torch's global
settings (cuDNN flags, default dtype, threads, deterministic algorithms).

A changed weight is not only restored but reported: a method that trains the model it explains explains another one. The
same holds for the data, which all methods share. The price is one copy of both, small beside the activations of a
batch.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ...errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

# Modules whose training mode differs from evaluation by dropout between layers only.
_FUSED = frozenset({nn.RNN, nn.LSTM, nn.GRU})

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
# set by the first full backward hook and never unset: afterwards the module would refuse hooks of the older kind
_HOOK_KIND = "_is_full_backward_hook"


@contextmanager
def undisturbed(model: nn.Module, doer: str = "", data: Mapping[str, Tensor] | None = None) -> Iterator[None]:
    """Evaluation mode and gradients on the inside; everything as it was on the outside.

    On a GPU cuDNN's recurrent kernels refuse gradients in evaluation mode. The usual ways out are dear or wrong:
    without cuDNN a step of a sequence is a dozen kernels, and ``model.train()`` explains a model with dropout switched
    on. Here the recurrent modules alone are in training mode, with their dropout at 0, which is evaluation; and cuDNN
    does not round to TF32, whose errors of 1e-3 would be taken for what removing a feature does.

    Args:
        model: the module to protect.
        doer: who works inside, for the error message; empty if only the model itself does.
        data: tensors that nobody may change either, by name.

    Raises:
        ContractError: a parameter, a buffer or the data was changed inside; it has been restored.
    """
    kept = {name: (tensor, tensor.detach().clone()) for name, tensor in (data or {}).items()}
    modes = {module: module.training for module in model.modules()}
    parameters = {parameter: (parameter.requires_grad, parameter.grad) for parameter in model.parameters()}
    weights = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
    dropouts = {module: module.dropout for module in model.modules() if isinstance(module, nn.RNNBase)}
    hooks = {module: {name: _copied(getattr(module, name, None)) for name in _HOOKS} for module in model.modules()}
    kinds = {module: getattr(module, _HOOK_KIND, None) for module in model.modules()}
    settings = _settings()
    try:
        model.eval()
        with same_randomness(), _exact_cudnn(usable=_with_gradients_by_cudnn(model)):
            yield
    finally:
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
        changed = _restored({f"{name} of the model": pair for name, pair in _beside(model, weights)} | kept)
    if changed and doer:
        raise ContractError(f"{doer} changed {changed[0]} it explains; it has been restored.")
    if changed:
        raise ContractError(f"Running the model changes {changed[0]}: explain a copy of it that stays as it is.")


def _with_gradients_by_cudnn(model: nn.Module) -> bool:
    """Make the recurrent modules on a GPU ready for gradients through cuDNN; whether all of them could be.

    What a subclass or a scripted module does in training mode nobody knows: those are run without cuDNN.
    """
    recurrent = [each for each in model.modules() if isinstance(each, nn.RNNBase) and _on_gpu(each)]
    scripted = any(isinstance(each, torch.jit.ScriptModule) and _on_gpu(each) for each in model.modules())
    if scripted or not all(type(each) in _FUSED for each in recurrent):
        return False
    for each in recurrent:
        each.training, each.dropout = True, 0.0
    return True


def _on_gpu(module: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in module.parameters())


@contextmanager
def _exact_cudnn(*, usable: bool) -> Iterator[None]:
    """cuDNN in full precision, and switched off if it is not usable; whoever has switched it off finds it so."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=usable and cudnn.enabled, benchmark=False, deterministic=cudnn.deterministic, allow_tf32=False
    ):
        yield


@contextmanager
def same_randomness() -> Iterator[None]:
    """The global random states of torch (CPU, and GPU if in use), NumPy and Python are put back afterwards."""
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


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _copied(hooks: Any) -> OrderedDict[int, Any] | None:  # noqa: ANN401  # torch types its hook tables as Any
    return None if hooks is None else OrderedDict(hooks)


def _restore_hooks(kept: dict[nn.Module, dict[str, OrderedDict[int, Any] | None]]) -> None:
    for module, tables in kept.items():
        for name, table in tables.items():
            current = getattr(module, name, None)
            if table is not None and current is not None and dict(current) != dict(table):
                current.clear()
                current.update(table)


def _beside(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Every tensor of the model that was there before, with what it was."""
    return ((name, (tensor, weights[name])) for name, tensor in _tensors(model) if name in weights)


def _restored(tensors: dict[str, tuple[Tensor, Tensor]]) -> list[str]:
    """Put tensors back to what they were, and name those that had changed."""
    changed = []
    with torch.no_grad():
        for name, (tensor, before) in tensors.items():
            if not torch.equal(tensor, before):
                changed += [name] if not _same(tensor, before) else []
                tensor.copy_(before)
    return changed


def _same(left: Tensor, right: Tensor) -> bool:
    """Equality in which NaN equals NaN: a model that came with NaN weights was not changed by us."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _settings() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    return flags, torch.get_default_dtype(), torch.get_num_threads(), _deterministic()


def _restore_settings(kept: tuple[Any, ...]) -> None:
    flags, dtype, threads, deterministic = kept
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags
    torch.set_default_dtype(dtype)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # only if they differ: to set them loads torch's compiler, a fifth of what a small run takes
    if _deterministic() != deterministic:
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
