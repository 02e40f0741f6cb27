"""Parts of a snapshot (:mod:`.snapshot`): one for each object, which compares it with what it was and puts it back."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import cached_property, partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...error_places import is_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

# Values that cannot change, and have nothing inside: they are compared as values by whatever refers to them.
PLAIN: Final = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
# The tables of a module, which hold its structure; whatever else it has is called an attribute here.
TABLES: Final = frozenset({"_parameters", "_buffers", "_modules"})
_ABSENT: Final = object()


class Place(NamedTuple):
    """Place of an object in a snapshot.

    Attributes:
        root: name of the object from which it was reached, such as ``the model``.
        path: the attributes, keys and indices on the way.
        module: the last module on the way; None if there is none.
        attribute: the attribute of that module on the way; "" if the place is the module itself.
    """

    root: str
    path: tuple[str, ...] = ()
    module: nn.Module | None = None
    attribute: str = ""

    def __str__(self) -> str:
        path = ".".join(step for step in self.path if step not in TABLES)
        if not path:
            return self.root
        return f"{path} of {self.root}"

    def below(self, key: object, module: nn.Module | None = None) -> Place:
        """Place of what an object has under a key.

        Args:
            key: attribute, key or index.
            module: the object, if it is a module.
        """
        step = str(key)
        if module is not None:
            return Place(self.root, (*self.path, step), module, step)
        return Place(self.root, (*self.path, step), self.module, self.attribute)


class Part:
    """Part of a snapshot: one object as it was."""

    def __init__(self, place: Place, each: Any) -> None:  # noqa: ANN401  # any object
        # the reference keeps the object alive, and so its identity
        self.place, self.each = place, each

    def inside(self) -> Iterator[tuple[Place, object]]:
        """Objects that it refers to, with their places."""
        return iter(())

    def same(self) -> bool:
        """Whether it is as it was."""
        return True

    def differences(self) -> Iterable[Place]:
        """Places in it that are not as they were."""
        return (self.place,)

    def restore(self) -> None:
        """Put it back."""


class TuplePart(Part):
    """A tuple, which cannot change itself."""

    def inside(self) -> Iterator[tuple[Place, object]]:
        """See :class:`Part`."""
        return ((self.place.below(index), value) for index, value in enumerate(self.each) if type(value) not in PLAIN)


class TensorPart(Part):
    """A tensor, with a copy of its values, and an alias by which its storage is kept."""

    def __init__(self, place: Place, each: Tensor) -> None:
        super().__init__(place, each)
        with torch.no_grad():
            self._alias = each.detach()
            self._copy = self._alias.clone()

    def same(self) -> bool:
        """See :class:`Part`."""
        each, copy = self.each, self._copy
        if each.shape != copy.shape or each.dtype != copy.dtype or each.device != copy.device:
            return False
        try:
            return torch.equal(each, copy) or _equal_with_nan(each, copy)
        except (RuntimeError, NotImplementedError):  # a layout whose values cannot be compared
            return True

    def restore(self) -> None:
        """See :class:`Part`."""
        with contextlib.suppress(RuntimeError):  # the storage itself may be gone
            self.each.data = self._alias
        try:
            self.each.data.copy_(self._copy)
        except RuntimeError:  # its elements share places, or its storage is another one
            self.each.data = self._copy.clone()


class ArrayPart(Part):
    """An array of NumPy; one of Python's objects is compared by identity only."""

    def __init__(self, place: Place, each: np.ndarray[Any, Any]) -> None:
        super().__init__(place, each)
        self._copy = each.copy()

    def same(self) -> bool:
        """See :class:`Part`."""
        if self._copy.dtype.hasobject:
            return True
        each, copy = self.each, self._copy
        if each.shape != copy.shape or each.dtype != copy.dtype:
            return False
        return bool((each == copy).all()) or each.tobytes() == copy.tobytes()

    def restore(self) -> None:
        """See :class:`Part`."""
        if self.each.shape != self._copy.shape:
            self.each.resize(self._copy.shape, refcheck=False)
        self.each.setflags(write=True)
        self.each[...] = self._copy


class ListPart(Part):
    """A list or a deque."""

    def __init__(self, place: Place, each: Any) -> None:  # noqa: ANN401  # a list or a deque
        super().__init__(place, each)
        self._items = list(each)

    def inside(self) -> Iterator[tuple[Place, object]]:
        """See :class:`Part`."""
        for index, value in enumerate(self._items):
            if type(value) not in PLAIN:
                yield self.place.below(index), value

    def same(self) -> bool:
        """See :class:`Part`."""
        items: list[Any] = list(self.each)
        return len(items) == len(self._items) and all(map(_alike, items, self._items))

    def restore(self) -> None:
        """See :class:`Part`."""
        self.each.clear()
        self.each.extend(self._items)


class SetPart(Part):
    """A set."""

    def __init__(self, place: Place, each: set[Any]) -> None:
        super().__init__(place, each)
        self._items = set(each)

    def same(self) -> bool:
        """See :class:`Part`."""
        return len(self.each) == len(self._items) and {*map(id, self.each)} == {*map(id, self._items)}

    def restore(self) -> None:
        """See :class:`Part`."""
        self.each.clear()
        self.each.update(self._items)


class DictPart(Part):
    """A dictionary: its keys and the objects that it has under them."""

    def __init__(self, place: Place, each: dict[Any, Any]) -> None:
        super().__init__(place, each)
        self._items = dict(each)
        self._values = list(self._items.values())

    def inside(self) -> Iterator[tuple[Place, object]]:
        """See :class:`Part`."""
        for key, value in self._items.items():
            if type(value) not in PLAIN:
                yield self.place.below(key), value

    def same(self) -> bool:
        """See :class:`Part`."""
        table: dict[Any, Any] = self.each
        if len(table) == len(self._values) and all(map(is_, table.values(), self._values)):
            return table.keys() == self._items.keys()
        return not self._different()

    def differences(self) -> Iterable[Place]:
        """See :class:`Part`."""
        return [self.place.below(key) for key in self._different()]

    def restore(self) -> None:
        """See :class:`Part`."""
        self.each.clear()
        self.each.update(self._items)

    def _different(self) -> list[Any]:
        return _different_keys(self._items, self.each)


class ObjectPart(Part):
    """A module or another object: its class and its attributes."""

    def __init__(self, place: Place, each: Any, skip: frozenset[str]) -> None:  # noqa: ANN401  # any object
        super().__init__(place, each)
        self._class, self._skip = type(each), skip
        self._items = dict(vars(each))
        self._values = list(self._items.values())
        self._module = each if isinstance(each, nn.Module) else None

    def inside(self) -> Iterator[tuple[Place, object]]:
        """See :class:`Part`."""
        for key, value in self._items.items():
            if type(value) not in PLAIN and key not in self._skip:
                yield self.place.below(key, self._module), value

    def same(self) -> bool:
        """See :class:`Part`."""
        table: dict[str, Any] = vars(self.each)
        if type(self.each) is not self._class:
            return False
        if len(table) == len(self._values) and all(map(is_, table.values(), self._values)):
            return table.keys() == self._items.keys()
        return not self._different()

    def differences(self) -> Iterable[Place]:
        """See :class:`Part`."""
        kind = [] if type(self.each) is self._class else [self.place.below("__class__", self._module)]
        return [*kind, *(self.place.below(key, self._module) for key in self._different())]

    def restore(self) -> None:
        """See :class:`Part`."""
        if type(self.each) is not self._class:
            self.each.__class__ = self._class
        table = vars(self.each)
        for key in self._different():
            if key in self._items:
                table[key] = self._items[key]
            else:
                del table[key]

    def had(self, key: str) -> object:
        """Value of an attribute as it was; None if it had none."""
        return self._items.get(key)

    def computed(self) -> list[tuple[Place, object]]:
        """Properties that were computed since, which belong to it from now on."""
        table = vars(self.each)
        if len(table) == len(self._items):
            return []
        new = {key: value for key, value in table.items() if self._is_computed(key)}
        self._items |= new
        self._values = list(self._items.values())
        return [(self.place.below(key), value) for key, value in new.items()]

    def _different(self) -> list[str]:
        """Attributes that differ; a property that was computed meanwhile is no difference."""
        keys = _different_keys(self._items, vars(self.each))
        return [key for key in keys if key not in self._skip and not self._is_computed(key)]

    def _is_computed(self, key: str) -> bool:
        return key not in self._items and isinstance(getattr(self._class, key, None), cached_property)


class ScriptPart(Part):
    """A module of TorchScript, which has no attributes of Python: its parameters and buffers."""

    def inside(self) -> Iterator[tuple[Place, object]]:
        """See :class:`Part`."""
        for name, tensor in (*self.each.named_parameters(), *self.each.named_buffers()):
            yield self.place.below(name), tensor


class ClassPart(Part):
    """A class: its own functions, as far as they are Python's."""

    kinds: ClassVar = frozenset({FunctionType, classmethod, staticmethod, property, cached_property, partial})

    def __init__(self, place: Place, each: type | ModuleType) -> None:
        super().__init__(place, each)
        self._items = self._functions()
        self._values = list(vars(each).values())

    def same(self) -> bool:
        """See :class:`Part`."""
        table = vars(self.each)
        # anything but functions may change, as annotations do when they are asked for
        return (
            len(table) == len(self._values) and all(map(is_, table.values(), self._values))
        ) or not self._different()

    def differences(self) -> Iterable[Place]:
        """See :class:`Part`."""
        return [self.place.below(key) for key in self._different()]

    def restore(self) -> None:
        """See :class:`Part`."""
        for key in self._different():
            if key in self._items:
                setattr(self.each, key, self._items[key])
            else:
                delattr(self.each, key)

    def _different(self) -> list[str]:
        return _different_keys(self._items, self._functions())

    def _functions(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self.each).items() if type(value) in self.kinds}


class ModulePart(ClassPart):
    """A module of Python: its functions and classes, wherever they come from.

    A library may replace functions of its own, as torch does when its compiler is loaded.
    """

    kinds: ClassVar = frozenset({FunctionType, BuiltinFunctionType, MethodType, type, partial, np.ufunc})

    def _different(self) -> list[str]:
        table = vars(self.each)
        changed = [key for key, value in self._items.items() if table.get(key) is not value]
        return [key for key in changed if not self._is_replaced_by_library(table.get(key))]

    def _is_replaced_by_library(self, value: object) -> bool:
        own = self.place.root.partition(".")[0] == __name__.partition(".")[0]
        return not own and isinstance(value, FunctionType) and is_library(value.__code__.co_filename)


PARTS: Final[dict[type, type[Part]]] = {
    Tensor: TensorPart,
    torch.jit.ScriptModule: ScriptPart,
    dict: DictPart,
    list: ListPart,
    deque: ListPart,
    tuple: TuplePart,
    set: SetPart,
    np.ndarray: ArrayPart,
}


def _different_keys(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[Any]:
    """Keys that are in one table only, or have another value."""
    kept = [key for key, value in before.items() if not _alike(after.get(key, _ABSENT), value)]
    return [*kept, *(key for key in list(after) if key not in before)]


def _alike(after: object, before: object) -> bool:
    """Whether two values are the same object, or equal plain values or tensors."""
    if after is before:
        return True
    if type(after) is not type(before):
        return False
    if type(after) in PLAIN:
        return after == before or (after != after and before != before)  # noqa: PLR0124  # NaN is no change from NaN
    if isinstance(after, Tensor) and isinstance(before, Tensor) and not isinstance(after, nn.Parameter):
        same_kind = after.shape == before.shape and after.dtype == before.dtype and after.device == before.device
        return same_kind and after.layout == before.layout == torch.strided and torch.equal(after, before)
    # a bound method is made anew each time
    return isinstance(after, MethodType) and after == before


def _equal_with_nan(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal, NaN being equal to NaN: NaN weights of a user's model are no change."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())
