"""Calling convention of a user's model, found by a few trial calls where its options do not say it.

Most models are called as ``model(inputs)`` or ``model(inputs, lengths)``. Others take a hidden state, batches of one
size, or sequences in the order of falling length, or keep state on the module. :func:`fitted` tries a few sequences and
wraps such a model in an adapter. The trial calls are no cost of any method.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from ...errors import ContractError, DataError, XrnnbenchError
from ..contract import WEIGHTS_OFF
from ..engine.adapters import (
    AdaptedModel,
    OutputStepsFirstError,
    PredictFunction,
    StateArgument,
    attention_weights,
    part_of,
)
from ..engine.agreement import agree, allowed_differences
from ..engine.batching import few_sequences
from ..engine.isolation import undisturbed
from ..engine.kept_state import ModuleState
from ..engine.several_inputs import several_inputs_of
from ..engine.signature import (
    INTERNAL,
    OUTPUT_STEP,
    PADDING,
    check_output,
    describe,
    is_lengths_name,
    required_parameters,
    signature,
)
from .hidden_state import is_state, states_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.adapters import Part
    from ..engine.several_inputs import SeveralInputs
    from .calling_options import Calling

# The most contexts of as many steps as the inputs of which every choice is tried.
_MOST_CHOICES: Final = 4
# Number of other contents of a context with which it is tried whether the model reads it beyond the sequence.
_DRAWS: Final = 2


@dataclass(frozen=True)
class Fitted:
    """A user's model as a module that keeps the calling convention of subjects.

    Attributes:
        model: the module: the user's own one if it needs no adapter.
        outputs: raw scores float[N, K] of a few sequences and of their references.
        context: the context, with given hidden states row-first.
        reads_state: whether the state that the model keeps from call to call changes its scores.
        whole: names of the context that has as many steps as the inputs and is not cut with them.
    """

    model: nn.Module
    outputs: Tensor
    context: dict[str, Tensor]
    reads_state: bool = False
    whole: tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """Data that a user's model is run on: right-padded sequences of one batch.

    Attributes:
        inputs, lengths: see :class:`xrnnbench.tasks.data.batch.Batch`.
        reference: in the shape of the inputs.
        context: further inputs, [B, …] by name; a hidden state may be a tuple of tensors.
        time_first: names of the context that was given as [T, B, …], as the model takes it.
    """

    inputs: Tensor
    lengths: Tensor
    reference: Tensor
    context: Mapping[str, Any] = field(default_factory=dict)
    time_first: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Short:
    """A sequence that is cut: its row, int64[1], and the number of its first steps that are kept."""

    row: Tensor
    steps: int


class UnrunnableError(DataError):
    """A model does not run on the data in any way that is known."""


def fitted(model: nn.Module, data: Data, calling: Calling, label: str) -> Fitted:
    """A user's model with the adapter it needs, found by running at most eight sequences in a few ways.

    Args:
        model: the module.
        data: the sequences.
        calling: what the user says.
        label: the model's name in error messages.

    Raises:
        DataError: the model cannot take these sequences in any way that is known; the message says what to change.
    """
    with undisturbed(model), torch.no_grad():
        return _Fitting(model, data, calling, label).fit()


class _Fitting:
    """The trial calls of one model."""

    def __init__(self, model: nn.Module, data: Data, calling: Calling, label: str) -> None:
        self.model, self.data, self.calling, self.label = model, data, calling, label
        self.few = few_sequences(data.lengths)
        self.state = ModuleState(model)
        self.kept: set[str] = set()
        self.whole: set[str] = set()

    def fit(self) -> Fitted:
        """See :func:`fitted`."""
        adapter, context, together = self._first_that_runs()
        adapter = self._with_context_along(adapter, context)
        adapter = adapter.changed(kept=frozenset(self.kept))
        seen = torch.cat([together, self._reference_scores(adapter, context)])
        adapter = adapter.changed(unpadded=adapter.unpadded or self._reads_shorter_padding(adapter, context, seen))
        if self.calling.attention is not None or not hasattr(self.model, "forward_with_attention"):
            adapter = adapter.changed(**self._attention(adapter, context))
        adapts = adapter.adapts or PADDING in context
        model = adapter if adapts or isinstance(self.model, torch.jit.ScriptModule) else self.model
        reads_state = bool(self.kept) and self._reads_state(adapter, context, seen)
        return Fitted(model, seen, context, reads_state, tuple(sorted(self.whole)))

    def _reference_scores(self, adapter: AdaptedModel, context: dict[str, Tensor]) -> Tensor:
        """Raw scores float[N, K] of the references of the few sequences."""
        try:
            return self._rows(adapter, context, self.data.reference)
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            raise DataError(
                f"{self.label} takes the inputs, and cannot take the reference ({type(error).__name__}: {reason}): "
                "give one that it can read, such as ids that exist."
            ) from error

    # ---- ways to call ----------------------------------------------------------------------------------------------

    def _first_that_runs(self) -> tuple[AdaptedModel, dict[str, Tensor], Tensor]:
        """The first way of calling the model in which it runs, the context for it, and the few sequences' raw scores.

        Scores that come with the output steps first would do so in a batch of any size.
        """
        errors: list[Exception] = []
        for states, context in self._states():
            for along, transposed in self._alongs(context):
                for falling, size in self._batches(states, context):
                    adapter = AdaptedModel(
                        self.model,
                        part=self.calling.part,
                        attention=self.calling.attention,
                        batch_first=self.calling.batch_first,
                        time_first_scores=self.calling.time_first_scores,
                        steps=OUTPUT_STEP in context,
                        batch_size=size,
                        falling=falling,
                        unpadded=self.calling.padding == "cut" and self._takes_lengths(states, context),
                        along=along,
                        time_first_context=transposed,
                        state=states,
                        left=PADDING in context and self.calling.padding_side == "left",
                    )
                    try:
                        together = self._try(adapter, context)
                    except Exception as error:  # noqa: BLE001  # whatever a user's model raises
                        errors.append(error)
                        if isinstance(error, OutputStepsFirstError):
                            break
                        continue
                    return adapter, context, together
        raise self._refusal(errors[0], self._other_way())

    def _states(self) -> Iterator[tuple[tuple[StateArgument, ...], dict[str, Tensor]]]:
        """Hidden states that the model may take as arguments, with the context row-first."""
        context: dict[str, Any] = {}
        given: dict[str, Any] = {}
        for name, value in self.data.context.items():
            (given if isinstance(value, tuple) or is_state(name) else context)[name] = value
        required = [name for name in required_parameters(self.model, context | given) if name not in given]
        missing = [name for name in required if is_state(name)]
        others = [name for name in required if not is_state(name)]
        if [name for name in others if not is_lengths_name(name)]:
            signature(self.model, context | given)  # says which parameter lacks a value
        choices = [states_of(self.model, name, None, len(self.data.inputs), len(missing)) for name in missing]
        choices += [states_of(self.model, name, value, len(self.data.inputs), 1) for name, value in given.items()]
        for choice in itertools.product(*choices):
            tensors = {key: tensor for _, own in choice for key, tensor in own.items()}
            yield tuple(state for state, _ in choice if state is not None), context | tensors

    def _batches(
        self, states: tuple[StateArgument, ...], context: dict[str, Tensor]
    ) -> Iterator[tuple[bool, int | None]]:
        """Whether sequences are sorted by falling length, and the size of all batches: plain batches first."""
        orders = [False, True] if self._takes_lengths(states, context) else [False]
        sizes = [None, len(self.data.inputs)] if self.calling.batch_size is None else [self.calling.batch_size]
        for size in sizes:
            yield from ((falling, size) for falling in orders)

    def _takes_lengths(self, states: tuple[StateArgument, ...], context: dict[str, Tensor]) -> bool:
        """Whether the model has a parameter for lengths."""
        return signature(AdaptedModel(self.model, state=states), context).lengths is not None

    def _alongs(self, context: dict[str, Tensor]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
        """Names of the context that is cut with the inputs, and of that which the model takes time-first.

        Raises:
            DataError: a name that the user gives is none of a context of as many steps as the inputs.
        """
        names = self._stepwise(context)
        if self.calling.along is not None:
            for name in self.calling.along:
                if name not in names:
                    raise DataError(
                        f"along={self.calling.along!r} names {name!r}, and there is no context of that name with "
                        f"{self.data.inputs.shape[1]} steps, [B, T, …]."
                    )
            subsets = [frozenset(self.calling.along)]
        elif PADDING in context:  # nothing is cut
            subsets = [frozenset()]
        elif len(names) > _MOST_CHOICES:
            subsets = [frozenset(names), frozenset()]
        else:
            sizes = range(len(names), -1, -1)
            subsets = [frozenset(subset) for size in sizes for subset in itertools.combinations(names, size)]
        turned = self.data.time_first
        layouts = [turned] if self.calling.batch_first else list(dict.fromkeys([turned | frozenset(names), turned]))
        yield from itertools.product(subsets, layouts)

    def _stepwise(self, context: dict[str, Tensor]) -> list[str]:
        """Names of the context with as many steps as the inputs, which may run along them."""
        width = self.data.inputs.shape[1]
        return [
            name
            for name, value in context.items()
            if name not in INTERNAL and value.dim() > 1 and value.shape[1] == width
        ]

    def _with_context_along(self, adapter: AdaptedModel, context: dict[str, Tensor]) -> AdaptedModel:
        """The adapter with the context that runs along the steps, as a shorter sequence shows.

        A context that the model can also take uncut is not cut if its values beyond the sequence matter: it is a second
        sequence, or as many static values as there are steps. If they do not matter, whatever they are, it runs along
        the steps. Where all runs have the given width, nothing shows it.
        """
        names, width = self._stepwise(context), self.data.inputs.shape[1]
        if not names or self.calling.along is not None:
            return adapter
        if PADDING in context:
            return adapter.changed(undecided=frozenset(names))
        shortest = int(self.data.lengths[self.few[0]])
        row = self.few[:1] if shortest < width else self.few[-1:]
        steps = min(shortest, (width + 1) // 2)
        if steps == width:  # of one step, nothing is cut or deleted
            return adapter.changed(along=frozenset())

        short = _Short(row, steps)
        chosen = adapter.along
        if self._short_scores(adapter, context, chosen, short) is None:  # all sequences are full, and were not cut yet
            subsets = dict.fromkeys(along for along, _ in self._alongs(context))
            runs = (along for along in subsets if self._short_scores(adapter, context, along, short) is not None)
            chosen = next(runs, frozenset())
        for name in sorted(chosen):
            if self._reads_beyond(adapter, context, chosen, name, short):
                chosen -= {name}
                self.whole.add(name)
        return adapter.changed(along=chosen)

    def _reads_beyond(
        self, adapter: AdaptedModel, context: dict[str, Tensor], along: frozenset[str], name: str, short: _Short
    ) -> bool:
        """Whether a model takes one of the contexts uncut, and its values beyond the sequence matter."""
        contents = [context, *(context | {name: _drawn(context[name], seed)} for seed in range(_DRAWS))]
        for own in contents:
            whole = self._short_scores(adapter, own, along - {name}, short)
            cut = self._short_scores(adapter, own, along, short)
            if whole is None or cut is None:
                return False
            if not self._same(whole, cut):
                return True
        return False

    def _short_scores(
        self, adapter: AdaptedModel, context: dict[str, Tensor], along: frozenset[str], short: _Short
    ) -> Tensor | None:
        """Raw scores float[1, K] of a shortened sequence, with some of the context cut with it; None if it fails."""
        inputs, lengths = self.data.inputs[short.row, : short.steps], torch.tensor([short.steps])
        try:
            return self._call(adapter.changed(along=along), context, inputs, short.row, lengths)
        except Exception:  # noqa: BLE001  # whatever a user's model raises
            return None

    # ---- trial calls -----------------------------------------------------------------------------------------------

    def _try(self, adapter: AdaptedModel, context: dict[str, Tensor]) -> Tensor:
        """Raw scores of the few sequences, run together and rising in length; the shortest is run alone as well.

        Any error passes on. A single sequence is run with a copy of itself too, because methods run many variants at
        once.
        """
        together = self._rows(adapter, context, self.data.inputs)
        shortest = self.few[:1]
        steps = int(self.data.lengths[shortest])
        alone = self._call(adapter, context, self.data.inputs[shortest, :steps], shortest, self.data.lengths[shortest])
        if len(alone) != 1 or alone.shape[1:] != together.shape[1:]:
            raise ContractError(f"{self.label} returns scores of another shape for a single sequence.")
        if len(self.few) == 1:
            self._call(adapter, context, self.data.inputs[[0, 0]], torch.tensor([0, 0]), self.data.lengths[[0, 0]])
        return together

    def _reads_shorter_padding(self, adapter: AdaptedModel, context: dict[str, Tensor], seen: Tensor) -> bool:
        """Whether a model reads the padding of shorter variants, where the sequences themselves have none.

        It is then given sequences of one length at a time, for methods that delete steps or ask about beginnings.

        Args:
            adapter: the adapter found so far.
            context: the context.
            seen: raw scores float[N, K], which give the spread of each output.
        """
        width = self.data.inputs.shape[1]
        full = int(self.data.lengths.min()) == width > 1
        if not full or PADDING in context or signature(adapter, context).lengths is None:
            return False
        rows, short = self.few[[0, -1]], (width + 1) // 2
        inputs, lengths = self.data.inputs[rows], torch.tensor([width, short])
        try:
            together = self._call(adapter, context, inputs, rows, lengths)[1:]
            alone = self._call(adapter, context, inputs[1:, :short], rows[1:], lengths[1:])
        except Exception:  # noqa: BLE001  # a model that takes one length only has no shorter variants
            return False
        return not agree(together, alone, allowed_differences(seen, seen.dtype))

    def _reads_state(self, adapter: AdaptedModel, context: dict[str, Tensor], seen: Tensor) -> bool:
        """Whether a second call that starts from the state which the first one left gives other scores."""
        plain = adapter.changed(kept=frozenset())
        try:
            first, second = self._together(plain, context), self._together(plain, context)
        except Exception:  # noqa: BLE001  # a state that fits one call only is read
            return True
        finally:
            self.state.restore()
        return not agree(first, second, allowed_differences(seen, seen.dtype))

    def _together(self, adapter: AdaptedModel, context: dict[str, Tensor]) -> Tensor:
        """Raw scores of the longest sequence, twice in one batch; the state that the model keeps is left as it is."""
        rows = self.few[[-1, -1]]
        lengths = self.data.lengths[rows]
        inputs = self.data.inputs[rows, : int(lengths[0])].clone()
        scores = adapter(inputs, lengths.clone(), **{name: value[rows] for name, value in context.items()})
        return check_output(scores, 2, self.label)

    def _same(self, left: Tensor, right: Tensor) -> bool:
        """Whether scores of the same sequence, cut in two ways, are equal but for rounding."""
        return agree(left, right, allowed_differences(torch.cat([left, left]), left.dtype))

    def _rows(self, adapter: AdaptedModel, context: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """Scores float[N, K] of the few sequences, those of one length together where the model takes no lengths."""
        lengths = self.data.lengths[self.few]
        if (signature(adapter, context).lengths is not None and not adapter.unpadded) or PADDING in context:
            return self._call(adapter, context, inputs[self.few, : int(lengths.max())], self.few, lengths)
        parts = []
        for length in lengths.unique().tolist():
            rows = self.few[lengths == length]
            parts.append(self._call(adapter, context, inputs[rows, :length], rows, self.data.lengths[rows]))
        if len({part.shape[1] for part in parts}) > 1:
            raise ContractError(
                f"{self.label} returns another number of scores for sequences of another length: if they are scores of "
                "the steps, return [B, U, K] and say which one is explained, such as step=0."
            )
        return torch.cat(parts)

    def _call(
        self, adapter: AdaptedModel, context: dict[str, Tensor], inputs: Tensor, rows: Tensor, lengths: Tensor
    ) -> Tensor:
        """Raw scores float[N, K] of some sequences; notes and restores the state that the model overwrites."""
        try:
            scores = adapter(inputs.clone(), lengths.clone(), **{name: value[rows] for name, value in context.items()})
        finally:
            if changed := self.state.changed():
                self.kept.update(changed)
                self.state.restore()
        return check_output(scores, len(inputs), self.label)

    def _attention(self, adapter: AdaptedModel, context: dict[str, Tensor]) -> dict[str, Any]:
        """Options of the adapter about the attention that the model returns.

        Where the user does not name it, it is the only part of the output that holds weights which sum to 1 over the
        steps. Its axes are told by the longest sequence alone, which has one row and several steps.

        Raises:
            DataError: the named part holds no weight for each step.
        """
        several = several_inputs_of(self.model)
        if several is not None:
            return self._attention_of_several(adapter, context, several)
        row = self.few[-1:]
        steps = int(self.data.lengths[row])
        output, part = self._output(adapter, context, row, steps)
        if self.calling.attention is not None:
            try:
                weights = part_of(output, self.calling.attention, self.label)
            except ContractError as error:
                raise DataError(str(error).replace("holds the scores", "holds the attention")) from error
            first = _time_first_weights(weights, part, several=adapter.steps)
            if first is None:
                raise DataError(
                    f"The part {self.calling.attention!r} of what {self.label} returns is {describe(weights)} for "
                    f"{len(part.inputs)} sequences of {part.inputs.shape[1]} steps, and attention is one weight for "
                    "each step."
                )
            return {"attention": self.calling.attention, "time_first_attention": first}
        if self.calling.part is None or steps < 2:
            return {}
        found = self._weights_in(output, part, adapter)
        try:  # of fewer steps and two sequences, attention has fewer weights and two rows; class probabilities have not
            shorter = self._weights_in(*self._output(adapter, context, row.expand(2), (steps + 1) // 2), adapter)
        except Exception:  # noqa: BLE001  # a model that takes one length only
            shorter = self._weights_in(*self._output(adapter, context, row.expand(2), steps), adapter)
        names = [name for name in found if name in shorter]
        return {"attention": names[0], "time_first_attention": found[names[0]]} if len(names) == 1 else {}

    def _attention_of_several(
        self, adapter: AdaptedModel, context: dict[str, Tensor], several: SeveralInputs
    ) -> dict[str, Any]:
        """As :meth:`_attention`, of several inputs: over the steps of the first input that has as many steps.

        Raises:
            DataError: the named part holds no weight for each step of an input.
        """
        if self.calling.attention is None and self.calling.part is None:
            return {}
        steps = {part.steps for part in several.layout}
        rows = next(count for count in itertools.count(2) if count not in steps)  # so that no axis is taken for another
        output, part = self._output(adapter, context, self.few[-1:].expand(rows), self.data.inputs.shape[1])
        names = [self.calling.attention] if self.calling.attention is not None else []
        names = names or [
            name for name in _parts_of(output, cast("int | str", self.calling.part)) if name != self.calling.part
        ]
        found: dict[int | str, tuple[int, int]] = {}
        for name in names:
            try:
                weights = part_of(output, name, self.label)
            except ContractError as error:
                raise DataError(str(error).replace("holds the scores", "holds the attention")) from error
            for each in several.layout:
                read = attention_weights(weights, len(part.inputs), each.steps, several=adapter.steps)
                named = self.calling.attention is not None
                if read is not None and not each.static and (named or _are_weights(read)):
                    found.setdefault(name, (each.first, each.steps))
        if self.calling.attention is not None and not found:
            raise DataError(
                f"The part {self.calling.attention!r} of what {self.label} returns is no attention over the steps of "
                f"one of its inputs {', '.join(several.layout.names)}: leave attention out."
            )
        if len(found) != 1:
            return {}
        ((name, span),) = found.items()
        return {"attention": name, "attended": span}

    def _output(self, adapter: AdaptedModel, context: dict[str, Tensor], rows: Tensor, steps: int) -> tuple[Any, Part]:
        """Output of the model for some sequences cut to some steps, as it is, and the call that gave it."""
        own = {name: value[rows] for name, value in context.items()}
        lengths = torch.full(rows.shape, steps)
        (part, *_), _ = adapter.arranged(self.data.inputs[rows, :steps], lengths, own)
        try:
            return adapter.output(part), part
        finally:
            self.state.restore()

    def _weights_in(self, output: Any, part: Part, adapter: AdaptedModel) -> dict[int | str, bool]:  # noqa: ANN401  # whatever a user's model returns
        """Parts of an output that hold weights which sum to 1 over the steps, and whether they are time-first."""
        found: dict[int | str, bool] = {}
        for name in _parts_of(output, cast("int | str", self.calling.part)):
            weights = part_of(output, name, self.label)
            first = _time_first_weights(weights, part, several=adapter.steps)
            if name == self.calling.part or first is None:
                continue
            if _sum_to_one(weights.transpose(0, 1) if first else weights, part, adapter.steps):
                found[name] = first
        return found

    # ---- words ------------------------------------------------------------------------------------------------------

    def _other_way(self) -> str:
        """Option under which the model runs, where it does not without it; empty if none is found."""
        turned = not self.calling.batch_first
        rows = torch.arange(len(self.data.inputs))
        for states, context in self._states():
            adapter = AdaptedModel(
                self.model, part=self.calling.part, batch_first=not turned, steps=OUTPUT_STEP in context, state=states
            )
            if self._runs(lambda: self._try(adapter.changed(batch_first=turned), context)):  # noqa: B023  # called at once
                return f"batch_first={turned}"
            if self._runs(lambda: self._call(adapter, context, self.data.inputs, rows, self.data.lengths)):  # noqa: B023  # as above
                return "padding='keep'"
        return ""

    @staticmethod
    def _runs(call: Callable[[], object]) -> bool:
        """Whether a call raises nothing."""
        try:
            call()
        except Exception:  # noqa: BLE001  # whatever a user's model raises
            return False
        return True

    def _refusal(self, error: Exception, other_way: str) -> DataError:
        """The refusal of a model that runs in no way, from the error of the plainest one."""
        if other_way and not isinstance(error, XrnnbenchError):
            reason = " ".join(str(error).split()) or "no reason given"
            run = "with the given width" if "padding" in other_way else "otherwise"
            refusal = UnrunnableError(
                f"{self.label} cannot take the inputs as it is called here ({type(error).__name__}: {reason}), and "
                f"runs {run}: say {other_way}."
            )
        elif isinstance(error, XrnnbenchError):
            refusal = UnrunnableError(str(error))
        else:
            reason = " ".join(str(error).split()) or "no reason given"
            inputs = self.data.inputs
            hints = "; if it takes batches of one size only, say batch_size=…" if "hidden" in reason else ""
            if isinstance(self.model, PredictFunction) and "numpy" in reason:
                hints = "; a plain function is given NumPy arrays: to explain a module, pass the module itself"
            several = several_inputs_of(self.model)
            shown, taken = f"{inputs.dtype}{list(inputs.shape)}", "(inputs) or (inputs, lengths)"
            if several is not None:
                shown = ", ".join(f"{part.name}{['B', *part.shape]}" for part in several.layout)
                way = "by keywords" if several.argument is None else f"in a {type(several.template).__name__}"
                shown, taken = f"{shown} {way}".replace("'", ""), "several inputs"
            refusal = UnrunnableError(
                f"{self.label} cannot take the inputs {shown} ({type(error).__name__}: {reason}): check that its "
                f"forward takes {taken} of that kind{hints}."
            )
        refusal.__cause__ = error
        return refusal


def _drawn(context: Tensor, seed: int) -> Tensor:
    """Context [B, T, …] with the same values in other places, drawn at random among rows and steps."""
    rng = torch.Generator().manual_seed(seed)
    flat = context.flatten(0, 1)
    return flat[torch.randint(len(flat), (len(flat),), generator=rng)].view_as(context)


def _parts_of(output: Any, like: int | str) -> list[int | str]:  # noqa: ANN401  # whatever a user's model returns
    """Positions or names of the parts of an output, as the user names the scores."""
    if isinstance(output, Tensor):
        return []
    if isinstance(like, int):
        return list(range(len(output)))
    if isinstance(output, Mapping):
        return list(output)
    return [*getattr(output, "_fields", vars(output) if hasattr(output, "__dict__") else ())]


def _time_first_weights(weights: object, part: Part, *, several: bool) -> bool | None:
    """Whether weights of one call are [T, B]; None if they are no weight for each step."""
    rows, steps = part.inputs.shape[:2]
    turned = weights.transpose(0, 1) if isinstance(weights, Tensor) and weights.dim() > 1 else None
    fits = [attention_weights(each, rows, steps, several=several) is not None for each in (weights, turned)]
    if all(fits) and isinstance(weights, Tensor):  # as many rows as steps: weights sum to 1 over the steps
        sums = [_sum_to_one(each, part, several) for each in (weights, weights.transpose(0, 1))]
        return sums == [False, True]
    return fits[1] if any(fits) else None


def _sum_to_one(weights: Tensor, part: Part, several: bool) -> bool:  # noqa: FBT001  # whether there are several output steps
    """Whether weights of one call, batch-first, are not negative and sum to 1 over the steps."""
    read = attention_weights(weights, *part.inputs.shape[:2], several=several)
    return read is not None and _are_weights(read)


def _are_weights(weights: Tensor) -> bool:
    """Whether weights [R, …, T] are not negative and sum to 1 over the steps."""
    return bool((weights >= 0).all()) and bool(((weights.sum(-1) - 1).abs() < WEIGHTS_OFF).all())
