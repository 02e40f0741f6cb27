"""Leave no trace: whatever is done with a model inside :func:`undisturbed`, afterwards it is as it was before.

Explaining needs evaluation mode, gradients, hooks and random numbers; the model belongs to somebody else. What is
restored, also after an exception: the mode of every sub-module, ``requires_grad`` and ``grad`` of every parameter,
all hooks, parameters and buffers, the global random states of torch, NumPy and Python, and the cuDNN flags.

A changed weight is not only restored but reported: a method that trains the model it explains explains another one.
The price is one copy of the parameters, small beside the activations of any batch.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
)  # fmt: skip
# set by the first full backward hook and never unset: afterwards the module would refuse hooks of the older kind
_HOOK_KIND = "_is_full_backward_hook"


@contextmanager
def undisturbed(model: nn.Module, doer: str) -> Iterator[None]:
    """Evaluation mode and gradients on the inside; everything as it was on the outside.

    On a GPU the fused recurrent kernels refuse gradients in evaluation mode, so cuDNN is switched off inside; the
    usual way out, ``model.train()``, would explain a model with dropout switched on.

    Args:
        model: the module to protect.
        doer: who works inside, for the error message.

    Raises:
        ContractError: a parameter or buffer was changed inside; it has been restored.
    """
    modes = {module: module.training for module in model.modules()}
    parameters = {parameter: (parameter.requires_grad, parameter.grad) for parameter in model.parameters()}
    weights = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
    hooks = {module: {name: _copied(getattr(module, name, None)) for name in _HOOKS} for module in model.modules()}
    kinds = {module: getattr(module, _HOOK_KIND, None) for module in model.modules()}
    cudnn = _cudnn_flags()
    try:
        model.eval()
        usable = not torch.cuda.is_available() and torch.backends.cudnn.enabled
        with same_randomness(), torch.backends.cudnn.flags(enabled=usable):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, (requires_grad, grad) in parameters.items():
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        _restore_hooks(hooks)
        for module, kind in kinds.items():
            setattr(module, _HOOK_KIND, kind)
        _restore_cudnn(cudnn)
        changed = _restore_weights(model, weights)
    if changed:
        raise ContractError(f"{doer} changed {changed[0]} of the model it explains; it has been restored.")


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


def _restore_weights(model: nn.Module, kept: dict[str, Tensor]) -> list[str]:
    changed = []
    with torch.no_grad():
        for name, tensor in _tensors(model):
            if name in kept and not torch.equal(tensor, kept[name]):
                if not torch.equal(tensor.isnan(), kept[name].isnan()) or not _same(tensor, kept[name]):
                    changed.append(name)
                tensor.copy_(kept[name])
    return changed


def _same(left: Tensor, right: Tensor) -> bool:
    """Equality in which NaN equals NaN: a model that came with NaN weights was not changed by us."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())


def _cudnn_flags() -> tuple[bool, bool, bool]:
    flags = torch.backends.cudnn
    return flags.enabled, flags.benchmark, flags.deterministic


def _restore_cudnn(kept: tuple[bool, bool, bool]) -> None:
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = kept
