"""Source files of plug-ins: a Python file, the neighbours that it imports, and the hash of them all.

A neighbour is a Python file in the folder of the plug-in's file, or in the package which that file is part of. The
``import`` statements of a file name its neighbours; they are read from the text, at any depth, so that those in
functions count as well. Nothing is imported here.

Names are looked up as for a script: first in the folder of the file, then, where that folder is a package, in the
folder that holds the package, and only then among installed packages. There are two exceptions. The standard library
and xrnnbench come before any neighbour: a neighbour ``random.py`` is not what ``import random`` means. And a file is no
neighbour of itself: ``captum.py`` may import the library captum. A folder without ``__init__.py`` is a package as far
as the imported modules lie in it. Imports by ``importlib`` are not followed.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from .bounded_files import is_file, read_bytes

# More than any program has that somebody wrote.
_MOST_BYTES: Final = 20_000_000
_NOT_NEIGHBOURS: Final = sys.stdlib_module_names | {"xrnnbench"}


class ImportStatement(NamedTuple):
    """One imported module, and the names that are taken from it.

    Attributes:
        level: number of leading dots; 0 for an absolute import.
        module: dotted name after the dots; empty in ``from . import name``.
        names: what is imported from the module; empty in ``import module``.
    """

    level: int
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class SourceFile:
    """A Python file and what it imports of its neighbours.

    Attributes:
        path: of the file.
        source: its bytes.
        absolute: the neighbours that it imports absolutely: the dotted name in the statement, and in :class:`Sources`.
        imports: dotted names in :class:`Sources` of all files that it imports, with the packages that these are in.
    """

    path: Path
    source: bytes
    absolute: Mapping[str, str]
    imports: frozenset[str]

    @property
    def package(self) -> bool:
        """Whether the file is that of a package, ``__init__.py``."""
        return self.path.name == "__init__.py"

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, 64 hex digits."""
        return hashlib.sha256(self.source).hexdigest()


@dataclass(frozen=True)
class Sources:
    """A plug-in's file with all neighbours that it imports, directly or by way of others.

    Attributes:
        entry: dotted name of the plug-in's file.
        files: files by dotted name, as seen from the folder that holds the file or its package.
    """

    entry: str
    files: Mapping[str, SourceFile]

    def digest(self, name: str) -> str:
        """SHA-256 (64 hex digits) of a file and of the neighbours that it imports; that of its bytes if it has none."""
        reached, waiting = {name}, [name]
        while waiting:
            new = self.files[waiting.pop()].imports - reached
            reached |= new
            waiting += new
        lines = [f"{other} {self.files[other].digest}" for other in sorted(reached - {name})]
        own = self.files[name].digest
        return hashlib.sha256("\n".join([own, *lines]).encode()).hexdigest() if lines else own


def content_hash(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file; of a Python file with the neighbours that it imports."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    sources = sources_of(path.resolve())
    return sources.digest(sources.entry)


def sources_of(path: Path) -> Sources:
    """A Python file, given by its resolved path, with all neighbours that it imports."""
    tree = _Tree.of(path)
    files: dict[str, SourceFile] = {}
    waiting = {tree.entry}
    while waiting:
        name = waiting.pop()
        files[name] = tree.read(name)
        waiting |= files[name].imports - files.keys()
    return Sources(tree.entry, files)


@dataclass(frozen=True)
class _Tree:
    """Where the neighbours of a plug-in's file are looked up.

    Attributes:
        root: the folder that holds the file, or its package.
        path: the plug-in's file.
        entry: its dotted name, as seen from the root.
        places: dotted names of the folders in which an absolute import is looked up, in this order; "" is the root.
    """

    root: Path
    path: Path
    entry: str
    places: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> _Tree:
        """The tree of a file, given by its resolved path."""
        root = path.parent
        while (root / "__init__.py").is_file() and root.name.isidentifier():
            root = root.parent
        folder = ".".join(path.parent.relative_to(root).parts)
        entry = folder if folder and path.name == "__init__.py" else _joined(folder, _identifier(path.stem))
        return cls(root, path, entry, (folder, "") if folder else ("",))

    def located(self, name: str) -> Path | None:
        """The file of a module or package; None if there is none."""
        if name == self.entry:
            return self.path
        path = self.root.joinpath(*name.split("."))
        files = path / "__init__.py", path.parent / f"{path.name}.py"
        return next((file for file in files if is_file(file)), None)

    def read(self, name: str) -> SourceFile:
        """A file with what it imports of its neighbours."""
        path = self.located(name) or self.path
        source = read_bytes(path, _MOST_BYTES)
        absolute: dict[str, str] = {}
        found: set[str] = set()
        for statement in _imports(source):
            if statement.level:
                found |= self._modules(_base(name, path, statement.level), statement)
            else:
                place, modules = self._absolute(name, statement)
                found |= modules
                absolute |= {statement.module: _joined(place, statement.module)} if modules else {}
        parents = {parent for module in found for parent in _parents(module) if self.located(parent)}
        return SourceFile(path, source, absolute, frozenset(found | parents))

    def _absolute(self, name: str, statement: ImportStatement) -> tuple[str, set[str]]:
        """Place and modules of an absolute import by the file of a name; no modules if it is none of neighbours."""
        if statement.module.partition(".")[0] not in _NOT_NEIGHBOURS:
            for place in self.places:
                if modules := self._modules(place, statement) - {name}:
                    return place, modules
        return "", set()

    def _modules(self, base: str, statement: ImportStatement) -> set[str]:
        """The modules that a statement imports, relative to a base: those that exist, with the packages between."""
        module = _joined(base, statement.module)
        names = self._exported(module) if statement.names == ("*",) else statement.names
        between = [_joined(base, part) for part in (*_parents(statement.module), statement.module) if part]
        candidates = [*(between or [base]), *(_joined(module, name) for name in names)]
        return {candidate for candidate in candidates if candidate and self.located(candidate)}

    def _exported(self, module: str) -> tuple[str, ...]:
        """The names that a package lists in ``__all__``."""
        path = self.located(module)
        return _listed(path.read_bytes()) if path is not None and path.name == "__init__.py" else ()


def _joined(*parts: str) -> str:
    """A dotted name of its parts, without those that are empty."""
    return ".".join(filter(None, parts))


def _parents(name: str) -> list[str]:
    """The packages that a dotted name lies in: ``["a", "a.b"]`` of ``a.b.c``."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _base(name: str, path: Path, level: int) -> str:
    """The dotted name of the package that so many leading dots mean in the file of a name."""
    package = path.name == "__init__.py" and not name.endswith("__init__")
    parts = name.split(".")
    return ".".join(parts[: max(0, len(parts) - level + package)])


def _identifier(stem: str) -> str:
    """The name of a file's module; of a file that no statement can import, such as ``my-method.py``, a name of its own.

    >>> _identifier("mine"), _identifier("my-method")
    ('mine', 'my_method_15e7a2d6')
    """
    if stem.isidentifier():
        return stem
    return f"{re.sub('[^0-9A-Za-z]', '_', stem)}_{hashlib.sha256(stem.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _tree_of(source: bytes) -> ast.Module:
    """The syntax tree of a source; an empty one of a source that is not Python, which its import reports."""
    try:
        with warnings.catch_warnings(action="ignore"):  # they are said when the file is imported
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


@functools.lru_cache(maxsize=1024)
def _imports(source: bytes) -> tuple[ImportStatement, ...]:
    """All import statements of a source."""
    return tuple(statement for node in ast.walk(_tree_of(source)) for statement in _statements(node))


def _statements(node: ast.AST) -> list[ImportStatement]:
    if isinstance(node, ast.Import):
        return [ImportStatement(0, alias.name, ()) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ImportStatement(node.level, node.module or "", tuple(alias.name for alias in node.names))]
    return []


@functools.lru_cache(maxsize=1024)
def _listed(source: bytes) -> tuple[str, ...]:
    """The texts in a source's ``__all__``, where it is written out."""
    found: list[str] = []
    for node in _tree_of(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            values = ast.walk(node)
            found += [
                value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)
            ]
    return tuple(found)
