"""Models of several inputs seen from the embeddings of their categories, so that these have gradients too.

A category may be embedded in any number of calls of ``nn.Embedding``, and one call may read several inputs at once. So
the calls are found by numbering the cells of the layout: the module is run on the numbers in the place of the ids, and
each call shows which cells it reads. A cell is then seen as the vectors of all calls that read it, one after another.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from ...errors import UnsupportedModelError
from ..data.input_layout import InputLayout
from .signature import EMBEDDED_INPUTS, GIVEN_INPUTS, ModuleWrapper, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .several_inputs import SeveralInputs

# Rows of the run on numbers: with two, it shows which axis is that of the rows.
_ROWS: Final = 2
# Numbers of cells from here on are not exact in single precision.
_MOST_NUMBERS: Final = 1 << 24


@dataclass(frozen=True, eq=False)
class CategoryCall:
    """A call of an embedding layer that reads cells of the layout.

    Attributes:
        layer: the layer.
        call: index of the call among the layer's calls in one run of the module, from 0.
        cells: int64[*shape], the cell of the layout that each place of the layer's input reads in one row, numbered in
            the order of time; −1 where it reads a constant.
        axis: axis of the rows in the layer's input.
        inner: whether this axis holds the rows of one place side by side, where it holds several places of each row.
        several: number of places of a row in this axis.
    """

    layer: nn.Embedding
    call: int
    cells: Tensor
    axis: int
    inner: bool
    several: int

    @property
    def size(self) -> int:
        """Size of an embedding."""
        return self.layer.embedding_dim

    def arranged(self, vectors: Tensor, shape: torch.Size) -> Tensor:
        """Vectors float[R, *cells, E] in the layout of the layer's output, float[*shape, E].

        Raises:
            UnsupportedModelError: the layer reads fewer places than there are.
        """
        if vectors[..., 0].numel() != shape.numel():
            raise UnsupportedModelError(
                f"An embedding reads {shape.numel()} ids of {len(vectors)} sequences, and {vectors[0, ..., 0].numel()} "
                "of each full one: let the model embed its categories before it packs or cuts them, or use a method "
                "that replaces values only, such as occlusion."
            )
        return vectors.movedim(0, self.axis + self.inner).reshape(*shape, vectors.shape[-1])


@dataclass(frozen=True, eq=False)
class CategoryEmbeddings:
    """Embeddings of the categories of a layout: the calls that make them, and their places in the embedded layout.

    Attributes:
        plain: the layout with the ids of categories.
        embedded: the layout with embeddings in their place.
        calls: the calls of embedding layers.
        places: for each call, int64[*cells, E], the place of each number of an embedding in a row of the embedded
            layout, numbered in the order of time.
    """

    plain: InputLayout
    embedded: InputLayout
    calls: tuple[CategoryCall, ...]
    places: tuple[Tensor, ...]

    def vectors(self, together: Tensor, number: int) -> Tensor:
        """Embeddings float[R, *cells, E] that a call reads from inputs float[R, S, D′] in the embedded layout."""
        places = self.places[number]
        return together.flatten(1)[:, places.flatten().to(together.device)].view(len(together), *places.shape)

    def of(self, together: Tensor) -> Tensor:
        """Inputs float[R, S, D′] in the embedded layout, from ids and numbers float[R, S, D]."""
        values = self.plain.unpacked(together)
        rows = len(together)
        for part in self.embedded:
            if part.sizes:
                values[part.name] = together.new_zeros(rows, *part.shape)
        whole = self.embedded.packed(values, together.dtype).flatten(1)
        ids = together.flatten(1).round().long()
        for entry, places in zip(self.calls, self.places, strict=True):
            known = entry.cells >= 0
            device = entry.layer.weight.device
            embedded = entry.layer(ids[:, entry.cells[known]].to(device)).to(whole)
            whole[:, places[known].flatten()] = embedded.flatten(1)
        return whole.view(rows, self.embedded.steps, self.embedded.columns)

    def plain_inputs(self, together: Tensor, given: Tensor) -> Tensor:
        """Inputs float[R, S, D] with the ids as given, and the numbers of inputs float[R, S, D′]."""
        numbers, ids = self.embedded.unpacked(together), self.plain.unpacked(given)
        return self.plain.packed(
            {part.name: (ids if part.categories else numbers)[part.name] for part in self.plain}, given.dtype
        )


def find_category_calls(
    model: nn.Module, inner: SeveralInputs, run: Callable[[Tensor], object], label: str
) -> CategoryEmbeddings:
    """The calls in which a model embeds the categories of its inputs, found by running it on numbered cells.

    Args:
        model: the model.
        inner: its adapter of several inputs.
        run: runs the model on inputs float[2, S, D] in the layout, without their own context of cells.
        label: the model's name in error messages.

    Raises:
        UnsupportedModelError: a category is read otherwise than by an ``nn.Embedding``, or in no way that can be
            followed.
    """
    layout = inner.layout
    watched = _Watched(model, inner)
    numbers = 1 + torch.arange(_ROWS * layout.filled.numel(), dtype=torch.float64)
    coded = numbers.view(_ROWS, layout.steps, layout.columns) * layout.category_cells
    if len(numbers) >= _MOST_NUMBERS:
        raise UnsupportedModelError(
            f"{label} reads {len(numbers) // _ROWS} values of a sequence, too many to follow its categories: give "
            "fewer steps, or hold the categories fixed as context."
        )
    try:
        with watched.watching():
            run(coded)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            f"{label} reads the categories {', '.join(layout.categories)} otherwise than through nn.Embedding, so they "
            "cannot be seen as embeddings: use a method that replaces values only, such as occlusion, or give whole "
            "numbers that are no ids as floats."
        ) from error
    return _placed(layout, watched.calls)


def _placed(layout: InputLayout, calls: list[CategoryCall]) -> CategoryEmbeddings:
    """The embedded layout: each category as the vectors of the calls that read its column, one after another."""
    own: dict[tuple[str, int], list[int]] = {
        (part.name, column): [] for part in layout if part.categories for column in range(part.columns)
    }
    for number, entry in enumerate(calls):
        for cell in entry.cells[entry.cells >= 0].unique().tolist():
            step, column = divmod(cell, layout.columns)
            readers = own[layout.part_of_step(step).name, column]
            if number not in readers:
                readers.append(number)
    sizes = {
        name: tuple(
            sum(calls[number].size for number in own[name, column])
            for column in range(next(part.columns for part in layout if part.name == name))
        )
        for name in layout.categories
    }
    embedded = layout.embedded(sizes)
    places = tuple(_places(layout, embedded, own, calls, number) for number in range(len(calls)))
    return CategoryEmbeddings(layout, embedded, tuple(calls), places)


def _places(
    plain: InputLayout,
    embedded: InputLayout,
    readers: dict[tuple[str, int], list[int]],
    calls: list[CategoryCall],
    number: int,
) -> Tensor:
    """Places int64[*cells, E] of the numbers that a call reads; 0 where it reads a constant."""
    entry = calls[number]
    first = torch.zeros(plain.steps * plain.columns, dtype=torch.int64)
    for part, seen in zip(plain, embedded, strict=True):
        for column in range(part.columns if part.categories else 0):
            own = readers[part.name, column]
            if number not in own:
                continue
            before = sum(seen.sizes[:column]) + sum(calls[other].size for other in own[: own.index(number)])
            steps = torch.arange(part.first, part.first + part.steps)
            first[steps * plain.columns + column] = steps * embedded.columns + before
    return first[entry.cells.clamp_min(0)][..., None] + torch.arange(entry.size)


class _Watched:
    """Embedding layers of a model that are given numbers of cells."""

    def __init__(self, model: nn.Module, inner: SeveralInputs) -> None:
        self.inner = inner
        self.layers = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        self.calls: list[CategoryCall] = []
        self._counts: dict[nn.Module, int] = {}
        self._rows = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Context in which the calls are noted, and every layer is given id 0 in the place of numbers."""
        handles = [self.inner.register_forward_pre_hook(self._begin)]
        handles += [layer.register_forward_pre_hook(self._note) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if self._rows:  # the module is run again for further rows, which read the same cells
            self.calls.clear()
        self._counts = dict.fromkeys(self.layers, 0)
        self._rows = len(arguments[0])

    def _note(self, layer: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        read = arguments[0]
        entry = _category_call(
            cast("nn.Embedding", layer), self._counts[layer], read.cpu(), self._rows, self.inner.layout
        )
        self.calls += [] if entry is None else [entry]
        self._counts[layer] += 1
        return (torch.zeros_like(read), *arguments[1:])


def _category_call(
    layer: nn.Embedding, number: int, read: Tensor, rows: int, layout: InputLayout
) -> CategoryCall | None:
    """The call that was given numbers of cells int64[…] of some rows; None if it reads no category."""
    cells = layout.steps * layout.columns
    known = (read > 0) & (read <= _ROWS * cells)
    cell = torch.where(known, (read - 1) % cells, -1)
    known &= layout.category_cells.flatten()[cell.clamp_min(0)]
    if not known.any():
        return None
    cell, row = torch.where(known, cell, -1), torch.where(known, (read - 1) // cells, -1)
    expected = torch.arange(rows).clamp_max(int(row.max()))  # a fixed batch is filled with copies of the last row
    for axis, size in enumerate(read.shape):
        if size % rows:
            continue
        several = size // rows
        for inner in (False, True) if several > 1 else (False,):
            split = (several, rows) if inner else (rows, several)
            of, own = (each.unflatten(axis, split).movedim(axis + inner, 0) for each in (row, cell))
            of = of.reshape(rows, -1)
            if bool(((of == expected[:, None]) | (of < 0)).all()) and bool((own == own[:1]).all()):
                return CategoryCall(layer, number, own[0], axis, inner, several)
    return None


class EmbeddedInputs(ModuleWrapper):
    """A model of several inputs seen from the embeddings of its categories: it takes float[B, S, D′].

    The model runs on the ids as they were given, so that masks which it computes from them come out right, and the
    outputs of its embedding layers are replaced on the way.

    Args:
        model: the model of float[B, S, D]; its context holds the given inputs.
        embeddings: how its categories are embedded.
        inner: its adapter of several inputs.
    """

    def __init__(self, model: nn.Module, embeddings: CategoryEmbeddings, inner: SeveralInputs) -> None:
        super().__init__()
        self.model = model
        self.embeddings = embeddings
        self._inner = [inner]  # in a list, so that it is no second child of this module

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The model's scores float[B, K] for inputs float[B, S, D′] in the embedded layout."""
        plain = self.embeddings.plain_inputs(inputs, context[GIVEN_INPUTS])
        with self._replaced_outputs():
            return cast("Tensor", call(self.model, plain, lengths, {**context, EMBEDDED_INPUTS: inputs}))

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor, **context: Tensor) -> tuple[Tensor, ...]:
        """Scores float[B, K] and attention weights, if the model returns them."""
        plain = self.embeddings.plain_inputs(inputs, context[GIVEN_INPUTS])
        with self._replaced_outputs(inputs):
            return cast("Any", self.model).forward_with_attention(  # type: ignore[no-any-return]  # the protocol Attentive
                plain, lengths, **{**context, EMBEDDED_INPUTS: inputs}
            )

    def selection(self, inputs: Tensor, context: Mapping[str, Any]) -> Tensor:
        """Weights float[B, S, D′] of the variables that the module selects; those of a category in equal shares."""
        plain = self.embeddings.plain_inputs(inputs, context[GIVEN_INPUTS])
        with self._replaced_outputs(inputs):
            weights = self._inner[0].selection(plain, {**context, EMBEDDED_INPUTS: inputs})
        values = self.embeddings.plain.unpacked(weights)
        for part in self.embeddings.embedded:
            if part.sizes:
                sizes = torch.tensor(part.sizes)
                own = values[part.name].reshape(len(weights), part.steps, len(sizes))
                values[part.name] = (own / sizes.clamp_min(1)).repeat_interleave(sizes, 2)
        return self.embeddings.embedded.packed(values, weights.dtype)

    @contextmanager
    def _replaced_outputs(self, together: Tensor | None = None) -> Iterator[None]:
        """Context in which the embedding layers return what the embedded layout holds.

        Args:
            together: the inputs of the only call; by default each call brings its own.
        """
        entries = {(entry.layer, entry.call): number for number, entry in enumerate(self.embeddings.calls)}
        counts: dict[nn.Module, int] = {}

        def begin(_: nn.Module, __: tuple[Any, ...], named: dict[str, Any]) -> None:
            nonlocal together
            counts.clear()
            together = named[EMBEDDED_INPUTS]

        def replace(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            number = entries.get((cast("nn.Embedding", layer), counts.get(layer, 0)))
            counts[layer] = counts.get(layer, 0) + 1
            if number is None or together is None:
                return None
            entry = self.embeddings.calls[number]
            shape = arguments[0].shape
            vectors = entry.arranged(self.embeddings.vectors(together, number), shape)
            if bool((entry.cells >= 0).all()):
                return vectors
            known = entry.arranged((entry.cells >= 0).expand(len(together), *entry.cells.shape)[..., None], shape)
            return torch.where(known.to(output.device), vectors, output)

        handles = [self._inner[0].register_forward_pre_hook(begin, with_kwargs=True)]
        handles += [layer.register_forward_hook(replace) for layer in {entry.layer for entry in self.embeddings.calls}]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
