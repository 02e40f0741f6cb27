"""State that a user's module keeps from one call to the next: found by comparison, and restored after each call.

Stateful networks write their hidden state to an attribute (``self.hidden``) or a buffer, so that a second call answers
otherwise. A score must be a function of its sequence alone, so every call starts from the state that the module had
when the subject was made.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, MutableMapping

# Attributes that torch keeps on every module.
_TORCH = frozenset(vars(nn.Module())) | {"training", "_flat_weights", "_flat_weight_refs"}


class ModuleState:
    """Snapshot of the attributes, buffers and parameters of a model that its own ``forward`` may overwrite.

    Args:
        model: the module; scripted modules inside it are left out, because they have no Python attributes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._items = {name: _Item(table, key) for name, table, key in _places(model)}
        self._model = model

    def changed(self) -> list[str]:
        """Dotted names of the items that differ from the snapshot, that are new, or that are gone."""
        present = {name for name, _, _ in _places(self._model)}
        return [
            *(name for name in present if name not in self._items),
            *(name for name, item in self._items.items() if name not in present or item.differs()),
        ]

    def restore(self) -> None:
        """Set the module back to the snapshot."""
        for name, table, key in list(_places(self._model)):
            if name not in self._items:
                del table[key]
        for item in self._items.values():
            item.restore()


def initial_state(model: nn.Module, names: Collection[str]) -> dict[str, Any]:
    """Copies of the attributes and buffers of a model that its calls overwrite, by dotted name.

    Parameters are left out: a copy of the model whose parameters are changed on purpose keeps these.

    Args:
        model: the module.
        names: dotted names, as :meth:`ModuleState.changed` gives them; they need not exist yet.
    """
    return {
        name: _copied(table[key])
        for name, table, key in _places(model)
        if name in names and not isinstance(table[key], nn.Parameter)
    }


@contextmanager
def state_restored(
    model: nn.Module, names: Collection[str], initial: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Context in which some attributes, buffers and parameters of a model are copies of the originals.

    The originals are never written to. The copies stay as the call left them, so that a graph which holds them can
    still be differentiated; afterwards the module has the originals again.

    Args:
        model: the module.
        names: their dotted names, as :meth:`ModuleState.changed` gives them; they need not exist yet.
        initial: the state that each call starts from, see :func:`initial_state`; by default the present one. Attributes
            that it lacks are taken away.
    """
    originals = [(name, table, key, table[key]) for name, table, key in list(_places(model)) if name in names]
    for name, table, key, value in originals:
        if initial is None or isinstance(value, nn.Parameter):
            table[key] = _copied(value)
        elif name in initial:
            table[key] = _copied(initial[name])
        else:
            del table[key]
    try:
        yield
    finally:
        for name, table, key in list(_places(model)):
            if name in names:
                del table[key]
        for _, table, key, value in originals:
            table[key] = value


def deep_copy(model: nn.Module) -> nn.Module:
    """Deep copy of a model, also of one that keeps tensors of a graph, such as the attention of its last call."""
    names = [name for name, table, key in _places(model) if _has_history(table[key])]
    with state_restored(model, names):
        return copy.deepcopy(model)


def _has_history(value: object) -> bool:
    """Whether a value is, or holds, a tensor that autograd computed."""
    if isinstance(value, Tensor):
        return value.grad_fn is not None
    if isinstance(value, dict):
        return any(map(_has_history, value.values()))
    return isinstance(value, tuple | list) and any(map(_has_history, value))


class _Item:
    """One attribute, buffer or parameter with a copy of its content."""

    def __init__(self, table: MutableMapping[str, Any], key: str) -> None:
        self.table, self.key = table, key
        self.value = table[key]
        self.copy = _copied(self.value)

    def differs(self) -> bool:
        """Whether the value or its content is another one."""
        return not _equal(self.copy, self.table[self.key])

    def restore(self) -> None:
        """Put the value and its content back."""
        self.table[self.key] = self.value
        _refill(self.value, self.copy)


def _places(model: nn.Module) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """Dotted name of each attribute, buffer and parameter, the table that holds it, and its key there."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        prefix = f"{path}." if path else ""
        own = vars(module)
        for table in (own, own["_buffers"], own["_parameters"]):
            yield from ((prefix + key, table, key) for key in list(table) if table is not own or key not in _TORCH)


def _copied(value: Any) -> Any:  # noqa: ANN401  # a user's attribute
    """A copy of a value in which tensors and collections are new; other objects are the same."""
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), value.requires_grad)
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in {tuple, list}:
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


def _equal(before: object, after: object) -> bool:
    """Whether two values are the same object, equal tensors or plain values, or collections of such."""
    if before is after:
        return True
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        same_kind = before.shape == after.shape and before.dtype == after.dtype
        # NaN is no change from NaN
        return same_kind and bool(((before == after) | ((before != before) & (after != after))).all())  # noqa: PLR0124  # as above
    if type(before) is not type(after):
        return False
    if isinstance(before, tuple | list) and isinstance(after, tuple | list):
        return len(before) == len(after) and all(map(_equal, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_equal(before[key], after[key]) for key in before)
    return isinstance(before, (int, float, str, bool)) and before == after


def _refill(value: Any, copy: Any) -> None:  # noqa: ANN401  # as above
    """Set the content of a value back to that of its copy."""
    if isinstance(value, Tensor):
        if not _equal(value, copy):
            value.data.copy_(copy)  # without a new version: a graph that holds the tensor stays usable
    elif type(value) is list:
        value[:] = [_original(item, kept) for item, kept in zip(_padded(value, len(copy)), copy, strict=False)]
    elif type(value) is dict:
        kept = {key: _original(value.get(key), item) for key, item in copy.items()}
        value.clear()
        value.update(kept)
    elif type(value) is tuple:
        for item, kept in zip(value, copy, strict=True):
            _refill(item, kept)


def _original(item: Any, kept: Any) -> Any:  # noqa: ANN401  # as above
    """An item with the content of its copy, or the copy where another item has taken its place."""
    if type(item) is type(kept) and isinstance(item, Tensor) and item.shape == kept.shape and item.dtype == kept.dtype:
        _refill(item, kept)
        return item
    return kept


def _padded(items: list[Any], count: int) -> list[Any]:
    """The first items of a list, with None where it is too short."""
    return [*items[:count], *[None] * (count - len(items))]
