"""Cascading randomisation: copies of a model whose parameters are randomised stage by stage, from the outputs down.

The stages are the modules with parameters of their own, in reverse order of their last calls in a run: usually the
output layer, attention, the recurrent layers, the embedding. A recurrent module has two stages for each of its stacked
layers, the upper ones first: the hidden-to-hidden weights, then the input-to-hidden weights. A parameter that two
modules share is randomised with the first of them. Modules that were not called in the run belong to the last stage.

New values are those of a module's own ``reset_parameters``, as in an untrained model. Where a module has no such
method, a tensor is replaced by normal numbers with its own mean and standard deviation, so that a constant tensor stays
the same. The user's model is copied and never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from ...errors import UnsupportedModelError
from ...fingerprints import seed_from
from ...tasks.engine.isolation import same_randomness, seed_generators
from ...tasks.engine.kept_state import deep_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tasks.subject import Subject

_LAYER_NUMBER: Final = re.compile(r"_l(\d+)")


@dataclass(frozen=True)
class Stage:
    """Parameters of one module that are randomised together.

    Attributes:
        module: the module's name within the model.
        parameters: the names of its own parameters.
    """

    module: str
    parameters: tuple[str, ...]


def cascade(subject: Subject, seed: int) -> tuple[Subject, ...]:
    """Subjects whose model is randomised up to each stage; in the last one all parameters are random.

    Args:
        subject: the subject with the trained model; for a token model the one whose inputs are tokens.
        seed: seed of the new values.

    Raises:
        UnsupportedModelError: the model cannot be copied, or has no parameters.
    """
    model = _copy_of(subject.model, subject.label)
    subjects = []
    for together in stages(subject.select(slice(0, 1)).with_model(model)):
        model = _copy_of(model, subject.label)
        for stage in together:
            _randomise(model.get_submodule(stage.module), stage, seed)
        subjects.append(subject.with_model(model))
    return tuple(subjects)


def stages(subject: Subject) -> list[list[Stage]]:
    """Order in which the parameters of a model are randomised, each of them once.

    Args:
        subject: the model, and a sequence on which it is run once to record the order of its modules' calls.

    Raises:
        UnsupportedModelError: the model has no parameters.
    """
    modules = dict(subject.model.named_modules())
    called = _modules_by_last_call(subject)
    seen: set[int] = set()
    stages_called = [[stage] for name in reversed(called) for stage in _stages_of_module(name, modules[name], seen)]
    stages_not_called = [
        stage for name in modules if name not in called for stage in _stages_of_module(name, modules[name], seen)
    ]
    if not stages_called and not stages_not_called:
        raise UnsupportedModelError(f"{subject.label} has no parameters, so there is nothing to randomise.")
    return [*stages_called[:-1], [*(stages_called[-1] if stages_called else []), *stages_not_called]]


def _copy_of(model: nn.Module, label: str) -> nn.Module:
    try:
        copied = deep_copy(model)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise UnsupportedModelError(
            f"{label} cannot be copied ({type(error).__name__}: {reason}), so its parameters cannot be randomised."
        ) from error
    for module in copied.modules():
        if isinstance(module, nn.RNNBase):
            # on a GPU the weights of a copy are not contiguous, and would be gathered at every call
            module.flatten_parameters()
    return copied


def _modules_by_last_call(subject: Subject) -> list[str]:
    """Names of the modules with parameters of their own, in the order in which their last calls ended."""
    order: dict[str, None] = {}
    handles = []
    for name, module in subject.model.named_modules():
        if _own_parameters(module):

            def record_call(*_: object, name: str = name) -> None:
                order.pop(name, None)
                order[name] = None

            handles.append(module.register_forward_hook(record_call))
    try:
        with subject.isolated(), torch.no_grad():
            rows, score = next(subject.scorers())
            score(subject.batch.inputs[rows][:, : int(subject.batch.lengths[rows].max())])
    finally:
        for handle in handles:
            handle.remove()
    return list(order)


def _own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _stages_of_module(name: str, module: nn.Module, seen: set[int]) -> Iterator[Stage]:
    """Stages of one module, without parameters in ``seen``; the module's own parameters are added to ``seen``."""
    new = [key for key, parameter in _own_parameters(module).items() if id(parameter) not in seen]
    seen.update(id(parameter) for parameter in _own_parameters(module).values())
    parts: dict[tuple[int, bool], list[str]] = {}
    recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase)
    for key in new:
        layer = _LAYER_NUMBER.search(key)
        # the projections of an LSTM belong to the hidden-to-hidden weights
        inner = recurrent and ("_hh" in key or "_hr" in key)
        parts.setdefault((-int(layer[1]) if recurrent and layer else 0, not inner), []).append(key)
    return (Stage(name, tuple(parts[part])) for part in sorted(parts))


def _randomise(module: nn.Module, stage: Stage, seed: int) -> None:
    """Overwrite a stage's parameters in place."""
    values = _new_values(module, seed_from("randomised", seed, stage.module))
    with torch.no_grad():
        for key in stage.parameters:
            module.get_parameter(key).copy_(values[key])


def _new_values(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """New values of a module's own parameters, by name."""
    if callable(getattr(module, "reset_parameters", None)):
        untrained = deep_copy(module).cpu()  # on the CPU a seed gives the same numbers on every machine
        with same_randomness():
            seed_generators(seed)
            untrained.reset_parameters()  # type: ignore[operator]  # checked to be callable above
        return {key: parameter.detach() for key, parameter in _own_parameters(untrained).items()}
    rng = torch.Generator().manual_seed(seed)
    return {key: _normal_values_like(parameter.detach(), rng) for key, parameter in _own_parameters(module).items()}


def _normal_values_like(values: Tensor, rng: torch.Generator) -> Tensor:
    """Normal numbers with the shape, mean and standard deviation of a tensor, float64."""
    drawn = torch.randn(values.shape, generator=rng, dtype=torch.float64)
    values = values.double().cpu()
    return values.mean() + values.std(unbiased=False) * drawn
