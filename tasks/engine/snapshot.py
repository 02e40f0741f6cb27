"""Snapshots of objects: what they refer to and the values of their tensors, to find what was changed and to undo it.

A snapshot walks from some objects through modules, dataclasses and collections to their tensors and arrays. Of each it
keeps the references and, of tensors and arrays, a copy. Restoring puts both back into the same objects, so whoever
refers to one of them finds it as it was. Other objects, such as functions or a user's own classes, are compared by
identity only: what changes inside of them is not seen here, but in the outputs of the model.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from .cost import Cost
from .snapshot_parts import (
    PARTS,
    PLAIN,
    ArrayPart,
    ClassPart,
    DictPart,
    ListPart,
    ModulePart,
    ObjectPart,
    Part,
    Place,
    SetPart,
    TensorPart,
    TuplePart,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

_CALLABLE: Final = (FunctionType, BuiltinFunctionType, MethodType, partial)
# Attributes that torch itself sets when a module is used: lists of the parameters that are compared anyway.
_DERIVED: Final = frozenset({"_flat_weights", "_flat_weight_refs"})
# What is legitimately different after each use, and belongs to whoever counts.
_LEFT_OUT: Final = (Cost,)


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
        self._parts: dict[int, Part] = {}
        # most collections of a module are empty tables of hooks, which are looked at together
        self._empty: list[Any] = []
        self._full: list[Part] = []
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
            self._keep(ClassPart(Place(f"the class {cls.__name__}"), cls))

    def add_functions(self, module: ModuleType | type) -> None:
        """Take in the functions and classes of a module or class of a library; others may be added to it."""
        self._keep(ModulePart(Place(module.__name__), module))

    def renew(self) -> None:
        """Take in the properties that objects have computed since."""
        for part in [part for part in self._full if isinstance(part, ObjectPart)]:
            self._walk(part.computed())

    def _walk(self, waiting: list[tuple[Place, object]]) -> None:
        """Take in objects and all that they refer to."""
        while waiting:
            place, each = waiting.pop()
            if type(each) in PLAIN or id(each) in self._parts or id(each) in self._beyond:
                continue
            part = self._part(place, each)
            if part is not None:
                self._keep(part)
                waiting += reversed(list(part.inside()))

    def _keep(self, part: Part) -> None:
        self._parts[id(part.each)] = part
        if isinstance(part, DictPart | ListPart | SetPart) and not part.each:
            self._empty.append(part.each)
        elif not isinstance(part, TuplePart):
            self._full.append(part)

    def changed(self) -> list[Place]:
        """Places that differ from the snapshot."""
        return [place for part in self._different() for place in part.differences()]

    def _different(self) -> list[Part]:
        """Parts that are not as they were."""
        filled = [self._parts[id(each)] for each in self._empty if each] if any(self._empty) else []
        return [*(part for part in self._full if not part.same()), *filled]

    def restore(self) -> None:
        """Put everything back: what objects refer to first, then the values of tensors and arrays."""
        with torch.no_grad():
            for part in sorted(self._different(), key=lambda part: isinstance(part, TensorPart | ArrayPart)):
                part.restore()

    def functional(self, place: Place) -> bool:
        """Whether the attribute of a module at a place is a function, or was one."""
        part = self._parts.get(id(place.module))
        before = part.had(place.attribute) if isinstance(part, ObjectPart) else None
        return isinstance(before, _CALLABLE) or isinstance(vars(place.module).get(place.attribute), _CALLABLE)

    def _part(self, place: Place, each: object) -> Part | None:
        """Part of an object; None if it is compared by identity only."""
        if isinstance(each, nn.Module) and not isinstance(each, torch.jit.ScriptModule):
            return ObjectPart(place, each, self._skip)
        for cls, part in PARTS.items():
            if isinstance(each, cls):
                return part(place, each)
        walked = is_dataclass(each) or isinstance(each, SimpleNamespace)
        if walked and not isinstance(each, self._leave) and hasattr(each, "__dict__"):
            return ObjectPart(place, each, frozenset())
        return None
