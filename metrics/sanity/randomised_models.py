"""Randomised copies of a model: what it was trained to is taken from it, from its outputs down.

The stages follow the modules that have parameters of their own, the one that finished last in a run first, and so
usually the output layer, attention, the recurrent layers, the embedding. A recurrent layer is two stages for each
layer it stacks, the upper ones first: the weights from state to state, then those from the input. A parameter that two
modules share is randomised with the first; modules that were not called in the run go with the last stage.

New values are what a module's own ``reset_parameters`` gives: an untrained model's. Where a module has no such method,
a tensor becomes normal numbers of its own mean and standard deviation, so that one whose values are all equal stays.
The user's model is copied and never touched.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from ...errors import UnsupportedModelError
from ...fingerprints import seed_from
from ...tasks.engine.isolation import same_randomness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tasks.subject import Subject

_LAYER: Final = re.compile(r"_l(\d+)")


@dataclass(frozen=True)
class Stage:
    """What is randomised together.

    Attributes:
        module: the module's name within the model.
        parameters: the names of its own parameters.
    """

    module: str
    parameters: tuple[str, ...]


def cascade(subject: Subject, seed: int) -> tuple[Subject, ...]:
    """The subject with its model randomised, each stage on top of those before it; in the last one nothing is left.

    Args:
        subject: of a token model, the one that reads tokens.
        seed: of the new values.

    Raises:
        UnsupportedModelError: the model cannot be copied, or has no parameters.
    """
    model = _copied(subject.model, subject.label)
    found = []
    for together in stages(subject.select(slice(0, 1)).with_model(model)):
        model = _copied(model, subject.label)
        for stage in together:
            _randomise(model.get_submodule(stage.module), stage, seed)
        found.append(subject.with_model(model))
    return tuple(found)


def stages(subject: Subject) -> list[list[Stage]]:
    """In which order a model's parameters are randomised; every one once.

    Args:
        subject: is run once to see in which order its modules are called.

    Raises:
        UnsupportedModelError: the model has no parameters.
    """
    modules = dict(subject.model.named_modules())
    called = _called(subject)
    seen: set[int] = set()
    found = [[stage] for name in reversed(called) for stage in _of_module(name, modules[name], seen)]
    idle = [stage for name in modules if name not in called for stage in _of_module(name, modules[name], seen)]
    if not found and not idle:
        raise UnsupportedModelError(f"{subject.label} has no parameters, so there is nothing to randomise.")
    return [*found[:-1], [*(found[-1] if found else []), *idle]]


def _copied(model: nn.Module, label: str) -> nn.Module:
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise UnsupportedModelError(
            f"{label} cannot be copied ({type(error).__name__}: {reason}), so its parameters cannot be randomised."
        ) from error
    for module in copied.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()  # on a GPU a copy's weights lie apart, and are gathered at every call
    return copied


def _called(subject: Subject) -> list[str]:
    """The names of the modules with parameters of their own, in the order in which their last calls ended."""
    order: dict[str, None] = {}
    handles = []
    for name, module in subject.model.named_modules():
        if _own(module):

            def note(*_: object, name: str = name) -> None:
                order.pop(name, None)
                order[name] = None

            handles.append(module.register_forward_hook(note))
    try:
        with subject.isolated(), torch.no_grad():
            rows, score = next(subject.scorers())
            score(subject.batch.inputs[rows][:, : int(subject.batch.lengths[rows].max())])
    finally:
        for handle in handles:
            handle.remove()
    return list(order)


def _own(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _of_module(name: str, module: nn.Module, seen: set[int]) -> Iterator[Stage]:
    """The stages of one module, without the parameters that were seen before, which are marked as seen."""
    new = [key for key, parameter in _own(module).items() if id(parameter) not in seen]
    seen.update(id(parameter) for parameter in _own(module).values())
    parts: dict[tuple[int, bool], list[str]] = {}
    recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase)
    for key in new:
        layer = _LAYER.search(key)
        # projections belong to the way from state to state
        inner = recurrent and ("_hh" in key or "_hr" in key)
        parts.setdefault((-int(layer[1]) if recurrent and layer else 0, not inner), []).append(key)
    return (Stage(name, tuple(parts[part])) for part in sorted(parts))


def _randomise(module: nn.Module, stage: Stage, seed: int) -> None:
    """Overwrite a stage's parameters in place."""
    fresh = _fresh(module, seed_from("randomised", seed, stage.module))
    with torch.no_grad():
        for key in stage.parameters:
            module.get_parameter(key).copy_(fresh[key])


def _fresh(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """New values of a module's own parameters."""
    if callable(getattr(module, "reset_parameters", None)):
        untrained = copy.deepcopy(module).cpu()  # where the numbers that a seed gives are the same everywhere
        with same_randomness():
            torch.manual_seed(seed)
            untrained.reset_parameters()  # type: ignore[operator]  # seen to be callable
        return {key: parameter.detach() for key, parameter in _own(untrained).items()}
    rng = torch.Generator().manual_seed(seed)
    return {key: _alike(parameter.detach(), rng) for key, parameter in _own(module).items()}


def _alike(values: Tensor, rng: torch.Generator) -> Tensor:
    drawn = torch.randn(values.shape, generator=rng, dtype=torch.float64)
    values = values.double().cpu()
    return values.mean() + values.std(unbiased=False) * drawn
