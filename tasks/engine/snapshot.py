"""Snapshots of objects: what they refer to and the values of their tensors, to find what was changed and to undo it.

A snapshot walks from some objects through modules, dataclasses and collections to their tensors and arrays. Of each it
keeps the references and, of tensors and arrays, a copy. Restoring puts both back into the same objects, so whoever
refers to one of them finds it as it was. Other objects, such as functions or a user's own classes, are compared by
identity only: what changes inside of them is not seen here, but in the outputs of the model.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import is_dataclass
from functools import cached_property, partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...error_places import is_library
from .cost import Cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

# Values that cannot change, and have nothing inside: they are compared as values by whatever refers to them.
_PLAIN: Final = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
_CALLABLE: Final = (FunctionType, BuiltinFunctionType, MethodType, partial)
# The tables of a module, which hold its structure; whatever else it has is called an attribute here.
TABLES: Final = frozenset({"_parameters", "_buffers", "_modules"})
_ABSENT: Final = object()
# Attributes that torch itself sets when a module is used: lists of the parameters that are compared anyway.
_DERIVED: Final = frozenset({"_flat_weights", "_flat_weight_refs"})
# What is legitimately different after each use, and belongs to whoever counts.
_LEFT_OUT: Final = (Cost,)


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


class Snapshot:
    """Snapshot of some objects; see the module.

    Args:
        objects: the objects by their names in messages.
        beyond: a snapshot whose objects are left out here.
        skip: attributes of modules that are not looked at.
        leave: classes whose objects are compared by identity only.
    """

    def __init__(
        self,
        objects: Mapping[str, object] | None = None,
        *,
        beyond: Snapshot | None = None,
        skip: frozenset[str] = frozenset(),
        leave: tuple[type, ...] = (),
    ) -> None:
        self._parts: dict[int, _Part] = {}
        # most collections of a module are empty tables of hooks, which are looked at together
        self._empty: list[Any] = []
        self._full: list[_Part] = []
        self._beyond: Mapping[int, object] = {} if beyond is None else beyond._parts  # noqa: SLF001  # one of its kind
        self._skip, self._leave = skip | _DERIVED, (type, *_LEFT_OUT, *leave)
        for name, value in (objects or {}).items():
            self.add(name, value)

    def add(self, name: str, value: object) -> None:
        """Take in one more object, as it is now."""
        self._walk([(Place(name), value)])

    def add_class(self, cls: type) -> None:
        """Take in the functions of a class, which all its objects share."""
        if id(cls) not in self._parts:
            self._keep(_ClassPart(Place(f"the class {cls.__name__}"), cls))

    def add_functions(self, module: ModuleType | type) -> None:
        """Take in the functions and classes of a module or class of a library; others may be added to it."""
        self._keep(_ModulePart(Place(module.__name__), module))

    def renew(self) -> None:
        """Take in the properties that objects have computed since."""
        for part in [part for part in self._full if isinstance(part, _ObjectPart)]:
            self._walk(part.computed())

    def _walk(self, waiting: list[tuple[Place, object]]) -> None:
        """Take in objects and all that they refer to."""
        while waiting:
            place, each = waiting.pop()
            if type(each) in _PLAIN or id(each) in self._parts or id(each) in self._beyond:
                continue
            part = self._part(place, each)
            if part is not None:
                self._keep(part)
                waiting += reversed(list(part.inside()))

    def _keep(self, part: _Part) -> None:
        self._parts[id(part.each)] = part
        if isinstance(part, _DictPart | _ListPart | _SetPart) and not part.each:
            self._empty.append(part.each)
        elif not isinstance(part, _TuplePart):
            self._full.append(part)

    def changed(self) -> list[Place]:
        """Places that differ from the snapshot."""
        return [place for part in self._different() for place in part.differences()]

    def _different(self) -> list[_Part]:
        """Parts that are not as they were."""
        filled = [self._parts[id(each)] for each in self._empty if each] if any(self._empty) else []
        return [*(part for part in self._full if not part.same()), *filled]

    def restore(self) -> None:
        """Put everything back: what objects refer to first, then the values of tensors and arrays."""
        with torch.no_grad():
            for part in sorted(self._different(), key=lambda part: isinstance(part, _TensorPart | _ArrayPart)):
                part.restore()

    def functional(self, place: Place) -> bool:
        """Whether the attribute of a module at a place is a function, or was one."""
        part = self._parts.get(id(place.module))
        before = part.had(place.attribute) if isinstance(part, _ObjectPart) else None
        return isinstance(before, _CALLABLE) or isinstance(vars(place.module).get(place.attribute), _CALLABLE)

    def _part(self, place: Place, each: object) -> _Part | None:
        """Part of an object; None if it is compared by identity only."""
        if isinstance(each, nn.Module) and not isinstance(each, torch.jit.ScriptModule):
            return _ObjectPart(place, each, self._skip)
        for cls, part in _PARTS.items():
            if isinstance(each, cls):
                return part(place, each)
        walked = is_dataclass(each) or isinstance(each, SimpleNamespace)
        if walked and not isinstance(each, self._leave) and hasattr(each, "__dict__"):
            return _ObjectPart(place, each, frozenset())
        return None


class _Part:
    """Part of a snapshot: one object as it was."""

    def __init__(self, place: Place, each: Any) -> None:  # noqa: ANN401  # any object
        # the reference keeps the object alive, and so its identity
        self.place, self.each = place, each

    def inside(self) -> Iterator[tuple[Place, object]]:
        """What it refers to."""
        return iter(())

    def same(self) -> bool:
        """Whether it is as it was."""
        return True

    def differences(self) -> Iterable[Place]:
        """Places in it that are not as they were."""
        return (self.place,)

    def restore(self) -> None:
        """Put it back."""


class _TuplePart(_Part):
    def inside(self) -> Iterator[tuple[Place, object]]:
        return ((self.place.below(index), value) for index, value in enumerate(self.each) if type(value) not in _PLAIN)


class _TensorPart(_Part):
    """A tensor, with a copy of its values, and an alias by which its storage is kept."""

    def __init__(self, place: Place, each: Tensor) -> None:
        super().__init__(place, each)
        with torch.no_grad():
            self._alias = each.detach()
            self._copy = self._alias.clone()

    def same(self) -> bool:
        each, copy = self.each, self._copy
        if each.shape != copy.shape or each.dtype != copy.dtype or each.device != copy.device:
            return False
        try:
            return torch.equal(each, copy) or _equal_with_nan(each, copy)
        except (RuntimeError, NotImplementedError):  # a layout whose values cannot be compared
            return True

    def restore(self) -> None:
        with contextlib.suppress(RuntimeError):  # the storage itself may be gone
            self.each.data = self._alias
        try:
            self.each.data.copy_(self._copy)
        except RuntimeError:  # its elements share places, or its storage is another one
            self.each.data = self._copy.clone()


class _ArrayPart(_Part):
    """An array of NumPy; one of Python's objects is compared by identity only."""

    def __init__(self, place: Place, each: np.ndarray[Any, Any]) -> None:
        super().__init__(place, each)
        self._copy = each.copy()

    def same(self) -> bool:
        if self._copy.dtype.hasobject:
            return True
        each, copy = self.each, self._copy
        if each.shape != copy.shape or each.dtype != copy.dtype:
            return False
        return bool((each == copy).all()) or each.tobytes() == copy.tobytes()

    def restore(self) -> None:
        if self.each.shape != self._copy.shape:
            self.each.resize(self._copy.shape, refcheck=False)
        self.each.setflags(write=True)
        self.each[...] = self._copy


class _ListPart(_Part):
    def __init__(self, place: Place, each: Any) -> None:  # noqa: ANN401  # a list or a deque
        super().__init__(place, each)
        self._items = list(each)

    def inside(self) -> Iterator[tuple[Place, object]]:
        for index, value in enumerate(self._items):
            if type(value) not in _PLAIN:
                yield self.place.below(index), value

    def same(self) -> bool:
        items: list[Any] = list(self.each)
        return len(items) == len(self._items) and all(map(_alike, items, self._items))

    def restore(self) -> None:
        self.each.clear()
        self.each.extend(self._items)


class _SetPart(_Part):
    def __init__(self, place: Place, each: set[Any]) -> None:
        super().__init__(place, each)
        self._items = set(each)

    def same(self) -> bool:
        return len(self.each) == len(self._items) and {*map(id, self.each)} == {*map(id, self._items)}

    def restore(self) -> None:
        self.each.clear()
        self.each.update(self._items)


class _DictPart(_Part):
    """A dictionary: its keys and the objects that it has under them."""

    def __init__(self, place: Place, each: dict[Any, Any]) -> None:
        super().__init__(place, each)
        self._items = dict(each)
        self._values = list(self._items.values())

    def inside(self) -> Iterator[tuple[Place, object]]:
        for key, value in self._items.items():
            if type(value) not in _PLAIN:
                yield self.place.below(key), value

    def same(self) -> bool:
        table: dict[Any, Any] = self.each
        if len(table) == len(self._values) and all(map(is_, table.values(), self._values)):
            return table.keys() == self._items.keys()
        return not self._different()

    def differences(self) -> Iterable[Place]:
        return [self.place.below(key) for key in self._different()]

    def restore(self) -> None:
        self.each.clear()
        self.each.update(self._items)

    def _different(self) -> list[Any]:
        return _different_keys(self._items, self.each)


class _ObjectPart(_Part):
    """A module or another object: its class and its attributes."""

    def __init__(self, place: Place, each: Any, skip: frozenset[str]) -> None:  # noqa: ANN401  # any object
        super().__init__(place, each)
        self._class, self._skip = type(each), skip
        self._items = dict(vars(each))
        self._values = list(self._items.values())
        self._module = each if isinstance(each, nn.Module) else None

    def inside(self) -> Iterator[tuple[Place, object]]:
        for key, value in self._items.items():
            if type(value) not in _PLAIN and key not in self._skip:
                yield self.place.below(key, self._module), value

    def same(self) -> bool:
        table: dict[str, Any] = vars(self.each)
        if type(self.each) is not self._class:
            return False
        if len(table) == len(self._values) and all(map(is_, table.values(), self._values)):
            return table.keys() == self._items.keys()
        return not self._different()

    def differences(self) -> Iterable[Place]:
        kind = [] if type(self.each) is self._class else [self.place.below("__class__", self._module)]
        return [*kind, *(self.place.below(key, self._module) for key in self._different())]

    def restore(self) -> None:
        if type(self.each) is not self._class:
            self.each.__class__ = self._class
        table = vars(self.each)
        for key in self._different():
            if key in self._items:
                table[key] = self._items[key]
            else:
                del table[key]

    def had(self, key: str) -> object:
        """What it had as an attribute."""
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


class _ScriptPart(_Part):
    """A module of TorchScript, which has no attributes of Python: its parameters and buffers."""

    def inside(self) -> Iterator[tuple[Place, object]]:
        for name, tensor in (*self.each.named_parameters(), *self.each.named_buffers()):
            yield self.place.below(name), tensor


class _ClassPart(_Part):
    """A class: its own functions, as far as they are Python's."""

    kinds: ClassVar = frozenset({FunctionType, classmethod, staticmethod, property, cached_property, partial})

    def __init__(self, place: Place, each: type | ModuleType) -> None:
        super().__init__(place, each)
        self._items = self._functions()
        self._values = list(vars(each).values())

    def same(self) -> bool:
        table = vars(self.each)
        # anything but functions may change, as annotations do when they are asked for
        return (
            len(table) == len(self._values) and all(map(is_, table.values(), self._values))
        ) or not self._different()

    def differences(self) -> Iterable[Place]:
        return [self.place.below(key) for key in self._different()]

    def restore(self) -> None:
        for key in self._different():
            if key in self._items:
                setattr(self.each, key, self._items[key])
            else:
                delattr(self.each, key)

    def _different(self) -> list[str]:
        return _different_keys(self._items, self._functions())

    def _functions(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self.each).items() if type(value) in self.kinds}


class _ModulePart(_ClassPart):
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


_PARTS: Final[dict[type, type[_Part]]] = {
    Tensor: _TensorPart,
    torch.jit.ScriptModule: _ScriptPart,
    dict: _DictPart,
    list: _ListPart,
    deque: _ListPart,
    tuple: _TuplePart,
    set: _SetPart,
    np.ndarray: _ArrayPart,
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
    if type(after) in _PLAIN:
        return after == before or (after != after and before != before)  # noqa: PLR0124  # NaN is no change from NaN
    if isinstance(after, Tensor) and isinstance(before, Tensor) and not isinstance(after, nn.Parameter):
        same_kind = after.shape == before.shape and after.dtype == before.dtype and after.device == before.device
        return same_kind and after.layout == before.layout == torch.strided and torch.equal(after, before)
    # a bound method is made anew each time
    return isinstance(after, MethodType) and after == before


def _equal_with_nan(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal, NaN being equal to NaN: NaN weights of a user's model are no change."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())
