"""Modules whose outputs LRP takes for constants, as MambaLRP does with the parameters of a selective state space.

Source: Jafari et al. 2024, arXiv:2406.07592, section 4: A, B and C of each step are constants, although the model
computes them from the input.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary
from torch.utils._pytree import tree_map

from ....errors import ParameterError
from .tracking import Tracking, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from ..operations import Operation

_SHOWN = 12


def constant(tensor: Tensor) -> Tensor:
    """Tensor as a constant, which a mode no longer follows."""
    if not has_torch_function_unary(tensor):
        return tensor.detach()
    held: Tensor = handle_torch_function(constant, (tensor,), tensor)
    return held


@rule(constant.__name__)
def _constant(tracking: Tracking, func: Operation, argument: Tensor) -> Tensor:
    return argument.detach()


@contextmanager
def outputs_held(score: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Context in which the outputs of some modules are constants.

    Args:
        score: the module that is run.
        names: names of its modules, whole or from a dot on: ``x_proj`` is also ``layers.0.x_proj``.

    Raises:
        ParameterError: no module has one of the names.
    """
    modules = {name: module for name, module in score.named_modules() if name}
    with ExitStack() as hooks:
        for name in names:
            found = [module for own, module in modules.items() if own == name or own.endswith(f".{name}")]
            if not found:
                raise ParameterError(f"lrp: constant={name} names no module of this model: it has {_listed(modules)}.")
            for module in found:
                hooks.callback(module.register_forward_hook(_hold).remove)
        yield


def _hold(module: nn.Module, inputs: Any, output: Any) -> Any:
    return tree_map(lambda leaf: constant(leaf) if isinstance(leaf, Tensor) else leaf, output)


def _listed(modules: dict[str, nn.Module]) -> str:
    """Names of modules as part of an error message, without the prefix that all of them share."""
    names = [name.removeprefix("model.") for name in modules if name != "model"]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
