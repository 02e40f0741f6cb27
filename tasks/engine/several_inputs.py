"""Models of several inputs, run on one tensor that holds them all.

:class:`SeveralInputs` takes the layout of :mod:`xrnnbench.tasks.data.input_layout` apart and calls the user's module as
it is: with a dictionary, a tuple, or keywords. Everything else of the package sees a model of one sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import torch

from .adapters import PredictFunction
from .signature import EMBEDDED_INPUTS, GIVEN_INPUTS, PRESENT_CELLS, ModuleWrapper, entry_point, parameters_of
from .structures import rebuilt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from ..data.input_layout import InputLayout


# Put before the names of held inputs that parameters of adapters have too.
_HELD: Final = "held."


def held_name(name: str) -> str:
    """Name in the context of an input that is held fixed."""
    return _HELD + name if name in {"inputs", "lengths"} else name


def shown_name(name: str) -> str:
    """Name of an input that is held fixed, as the user knows it."""
    return name.removeprefix(_HELD)


class SeveralInputs(ModuleWrapper):
    """A user's module of several inputs as a module of one tensor.

    Its context may hold :data:`GIVEN_INPUTS` float[B, S, D], the inputs as they were given, and :data:`PRESENT_CELLS`
    bool[B, S, D], the cells that belong to the sequences: all others keep what was given, whatever a variant holds.

    Args:
        model: the module, or a wrapped function.
        layout: the layout of the inputs.
        template: a container of the kind that the module takes, with everything that is the same for all sequences.
        argument: the parameter that takes the container; None if the module takes its values by keywords.
    """

    def __init__(self, model: nn.Module, layout: InputLayout, template: Any, argument: str | None) -> None:  # noqa: ANN401  # any container
        super().__init__()
        self.model = model
        self.layout = layout
        self.template = template
        self.argument = argument
        if hasattr(model, "forward_with_attention"):
            self.forward_with_attention = self._forward_with_attention

    def entry_point(self) -> tuple[Callable[..., Any], str]:
        """The call of one tensor; the name in error messages is that of the user's module."""
        return self._taken, entry_point(self.model)[1]

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Any) -> Any:  # noqa: ANN401, ARG002  # of a user
        """Output of the module for inputs float[B, S, D] in the layout, which every row fills."""
        return self._called(self.model, *self._taken_apart(inputs, context))

    def _forward_with_attention(self, inputs: Tensor, lengths: Tensor | None = None, **context: Any) -> Any:  # noqa: ANN401, ARG002  # as above
        """Scores, attention weights float[B, S] or float[B, U, S] over the steps of all inputs, and what else there is.

        The module returns the weights by the names of inputs.
        """
        values, own = self._taken_apart(inputs, context)
        scores, weights, *others = self._called(cast("Any", self.model).forward_with_attention, values, own)
        like = next(iter(weights.values()))
        parts = [weights.get(part.name, like.new_zeros(*like.shape[:-1], part.steps)) for part in self.layout]
        return scores, torch.cat(parts, -1), *others

    def selection(self, inputs: Tensor, context: Mapping[str, Any]) -> Tensor:
        """Weights float[B, S, D] of the variables that the module selects; 0 where it selects none."""
        values, own = self._taken_apart(inputs, dict(context))
        _, weights = self._called(cast("Any", self.model).forward_with_selection, values, own)
        return self.layout.together(weights)

    def _taken_apart(self, inputs: Tensor, context: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The module's own inputs, and its context, by name."""
        given, present, embedded = (context.pop(name, None) for name in (GIVEN_INPUTS, PRESENT_CELLS, EMBEDDED_INPUTS))
        if present is not None:
            inputs = torch.where(present, inputs, given)
        context = {shown_name(name): value for name, value in context.items()}
        values: dict[str, Any] = self.layout.unpacked(inputs)
        # categories that are seen through their embeddings stay what they are
        ids = values if embedded is None else self.layout.unpacked(given)
        values |= {name: ids[name].detach().round().long() for name in self.layout.categories}
        return values, context

    def _called(self, function: Callable[..., Any], values: dict[str, Any], context: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        """What a function of the module returns for its own inputs and context."""
        if isinstance(self.model, PredictFunction):
            values, context = _arrays(values), _arrays(context)
            function = self.model.function
        if self.argument is None:
            output = function(**rebuilt(self.template, {**values, **context}))
        else:
            by_name = {name: value for name, value in context.items() if self._is_parameter(name)}
            held = {name: value for name, value in context.items() if name not in by_name}
            output = function(**{self.argument: rebuilt(self.template, values | held)}, **by_name)
        return self.model.tensors(output) if isinstance(self.model, PredictFunction) else output

    def _is_parameter(self, name: str) -> bool:
        """Whether context of this name goes to a parameter of its own, beside the container."""
        return name != self.argument and name in parameter_names(self.model)

    @staticmethod
    def _taken(inputs: Tensor, **context: Tensor) -> None:
        """Signature of the call: no lengths, any context."""

    def extra_repr(self) -> str:
        """The inputs, as the module takes them."""
        inputs = ", ".join(f"{part.name}{list(part.shape)}" for part in self.layout)
        return f"{inputs}, argument={self.argument!r}"


def parameter_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the parameters of a model's ``forward``, or of a wrapped function."""
    return tuple(parameter.name for parameter in parameters_of(entry_point(model)[0]))


def several_inputs_of(model: nn.Module) -> SeveralInputs | None:
    """The adapter of several inputs inside a model; None if it takes one."""
    while isinstance(model, ModuleWrapper):
        if isinstance(model, SeveralInputs):
            return model
        model = model.model
    return None


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors as NumPy arrays."""
    return {
        name: value.detach().numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()
    }
