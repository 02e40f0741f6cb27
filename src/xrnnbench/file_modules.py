"""Modules made of Python files by their path, together with the neighbours that these import.

Python keeps one module for each name, so that the ``helpers.py`` of one folder would be taken for that of another.
Here, each folder gets a space of names of its own, and ``import helpers`` in a file of that folder means the helpers of
its space. Neither ``sys.path`` nor what any other code imports is changed. Which names mean neighbours, and which come
first, is described in :mod:`xrnnbench.source_files`.

All files of a space are as they were when they were read first: an import that runs later, in a function, gets the text
that was hashed. If a file has changed since, the folder gets another space, in which all its files are loaded anew;
what was loaded before stays as it is.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .bounded_files import is_file, resolved_path, shown_path
from .error_lines import error_line
from .errors import UsageError
from .source_files import SourceFile, Sources, sources_of

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Sequence

    Finish = Callable[[types.ModuleType, str], None]

_PREFIX: Final = "xrnnbench_files_"


def load_module(path: str, finish: Finish) -> types.ModuleType:
    """Import a Python file by its path, once for each content of it and of its neighbours.

    Args:
        path: of the file.
        finish: called with each module that was loaded, and the SHA-256 of its file and of its neighbours.

    Raises:
        UsageError: there is no such file, or it or a neighbour raises when imported.
    """
    file = resolved_path(path)
    if not is_file(file):
        raise UsageError(f"There is no file {shown_path(path)}.")
    sources = sources_of(file)
    space = _FINDER.space_for(file.parent, sources, finish)
    try:
        return space.load(sources)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(_failure(path, file, space, error)) from error


@dataclass(frozen=True)
class FilesOfFolder:
    """The files of one folder as they were read, from which another process makes the same modules.

    Attributes:
        name: the package that all modules of these files are in.
        folder: the folder.
        files: the files by dotted name.
        digests: of these files with their neighbours.
    """

    name: str
    folder: Path
    files: Mapping[str, SourceFile]
    digests: Mapping[str, str]


def loaded_files() -> tuple[FilesOfFolder, ...]:
    """All files that were read so far, folder by folder."""
    return tuple(
        FilesOfFolder(space.name, folder, dict(space.files), dict(space.digests))
        for folder, spaces in _FINDER.by_folder.items()
        for space in spaces
    )


def make_importable(folders: Iterable[FilesOfFolder], finish: Finish) -> None:
    """Make the files of another process importable under the names that they have there, wherever they lie.

    Args:
        folders: see :func:`loaded_files`.
        finish: see :func:`load_module`.
    """
    for each in folders:
        if each.name not in _FINDER.by_name:
            space = _Space(each.name, finish)
            _FINDER.add(each.folder, space)
        _FINDER.by_name[each.name].files |= each.files
        _FINDER.by_name[each.name].digests |= each.digests


def stable_name(module: str) -> str:
    """The name of a module for fingerprints; that of a file loaded by its path depends on its path and content only."""
    loader = getattr(sys.modules.get(module), "__loader__", None)
    return loader.stable_name if isinstance(loader, _Loader) else module


@dataclass(eq=False)
class _Space:
    """The modules of the files of one folder, with one content of each.

    Attributes:
        name: the package that all modules of the space are in.
        finish: see :func:`load_module`.
        files: the files by dotted name, as they were read.
        digests: of these files with their neighbours.
    """

    name: str
    finish: Finish
    files: dict[str, SourceFile] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def fits(self, sources: Sources) -> bool:
        """Whether no file has changed since it was read into this space."""
        return all(self.files.get(name, file) == file for name, file in sources.files.items())

    def add(self, sources: Sources) -> None:
        """Make files importable."""
        self.files |= sources.files
        self.digests |= {name: sources.digest(name) for name in sources.files}

    def load(self, sources: Sources) -> types.ModuleType:
        """The module of the plug-in's file.

        Its package is imported first if it, or a neighbour in it, is imported; a file without such neighbours is loaded
        alone.
        """
        name = f"{self.name}.{sources.entry}"
        if name in sys.modules or sources.entry.rpartition(".")[0] in sources.files:
            return importlib.import_module(name)
        spec = self.spec(sources.entry)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)  # type: ignore[union-attr]  # every spec of a space has a loader
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def spec(self, name: str) -> importlib.machinery.ModuleSpec:
        """The import specification of a dotted name; that of the space itself for "".

        Raises:
            ModuleNotFoundError: no file of the space imports a neighbour of that name.
        """
        full = f"{self.name}.{name}" if name else self.name
        if (file := self.files.get(name)) is not None:
            loader = _Loader(full, self, name)
            spec = importlib.machinery.ModuleSpec(full, loader, origin=loader.path, is_package=file.package)
            spec.has_location = True
            if file.package:
                spec.submodule_search_locations = [str(file.path.parent)]
            return spec
        if not name or any(other.startswith(f"{name}.") for other in self.files):
            return importlib.machinery.ModuleSpec(full, _FolderLoader(), is_package=True)
        raise ModuleNotFoundError(f"No module named {name!r} beside it", name=full)


class _Finder(MetaPathFinder):
    """Import finder for the modules of all spaces.

    It comes first in ``sys.meta_path``, so that nothing else reads their files, which may have changed.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, _Space] = {}
        self.by_folder: dict[Path, list[_Space]] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the import system passes it
        target: types.ModuleType | None = None,  # noqa: ARG002  # as above
    ) -> importlib.machinery.ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        if not fullname.startswith(_PREFIX):
            return None
        space, _, name = fullname.partition(".")
        return self.by_name[space].spec(name) if space in self.by_name else None

    def space_for(self, folder: Path, sources: Sources, finish: Finish) -> _Space:
        """The latest space of a folder in which these files are as they are now; a new one if there is none."""
        spaces = self.by_folder.setdefault(folder, [])
        space = next((space for space in reversed(spaces) if space.fits(sources)), None)
        if space is None:
            space = _Space(f"{_PREFIX}{_short_hash(str(folder), 8)}_{len(spaces)}", finish)
            self.add(folder, space)
        space.add(sources)
        return space

    def add(self, folder: Path, space: _Space) -> None:
        """Add a space of a folder."""
        self.by_folder.setdefault(folder, []).append(space)
        self.by_name[space.name] = space
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)


_FINDER: Final = _Finder()


class _Loader(importlib.machinery.SourceFileLoader):
    """Loader of the very bytes that were hashed.

    Python's own loader takes compiled code from its cache if the file has the same size and the same time to the
    second: a file that is edited twice within a second would run as it was before, under its new hash.
    """

    def __init__(self, fullname: str, space: _Space, name: str) -> None:
        self._file, self._digest, self._space = space.files[name], space.digests[name], space
        super().__init__(fullname, str(self._file.path))

    @property
    def stable_name(self) -> str:
        """See :func:`stable_name`."""
        return f"xrnnbench_file_{self._file.path.stem}_{_short_hash(f'{self._file.path}{self._digest}', 12)}"

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002  # the import system hands it over
        """See :meth:`importlib.abc.InspectLoader.is_package`."""
        return self._file.package

    def get_code(self, fullname: str) -> types.CodeType:  # noqa: ARG002  # as above
        """See :meth:`importlib.abc.InspectLoader.get_code`."""
        return self.source_to_code(self._file.source, self.path)

    def exec_module(self, module: types.ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""
        if self._file.absolute:
            # functions of the module look their built-ins up here, so that their imports are found later, too
            module.__dict__["__builtins__"] = vars(builtins) | {
                "__import__": _importer(self._space.name, self._file.absolute)
            }
        super().exec_module(module)
        self._space.finish(module, self._digest)


class _FolderLoader(Loader):
    """Loader of a folder without a file of its own: the modules in it are all that it has."""

    def exec_module(self, module: types.ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""


def _importer(space: str, absolute: Mapping[str, str]) -> Callable[..., types.ModuleType]:
    """What the import statements of a file call: the built-in ``__import__``, but for its neighbours.

    Args:
        space: name of the file's space.
        absolute: see :class:`xrnnbench.source_files.SourceFile`.
    """

    def import_(  # the signature is that of __import__
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        if level or name not in absolute:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = f"{space}.{absolute[name]}"
        if fromlist:
            return builtins.__import__(full, globals, locals, fromlist, 0)
        importlib.import_module(full)
        # "import a.b" makes the name a
        return sys.modules[full.removesuffix(name) + name.partition(".")[0]]

    return import_


def _failure(path: str, file: Path, space: _Space, error: Exception | SystemExit) -> str:
    """Sentence about a file that cannot be imported; it names the neighbour where that is what fails."""
    reason = error_line(error).replace(f"{space.name}.", "")
    reason = reason.replace(f"{space.name!r} (unknown location)", "its folder")
    neighbour = _failing_file(error, {source.path for source in space.files.values()})
    if neighbour is not None and neighbour != file:
        return f"{path} cannot be imported: {_shown(neighbour, file)} beside it fails ({reason}); mend that first."
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and name in sys.stdlib_module_names and (file.parent / f"{name}.py").is_file():
        hint = f"{name} is a module of Python, which goes before {name}.py beside it: rename that file"
        return f"{path} cannot be imported ({reason}); {hint}."
    return f"{path} cannot be imported ({reason}); mend it first."


def _failing_file(error: Exception | SystemExit, files: set[Path]) -> Path | None:
    """The last of some files that an error came through."""
    if isinstance(error, SyntaxError) and error.filename is not None and Path(error.filename) in files:
        return Path(error.filename)
    found, trace = None, error.__traceback__
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename)
        found, trace = name if name in files else found, trace.tb_next
    return found


def _shown(neighbour: Path, file: Path) -> str:
    """The path of a neighbour, as seen from the file's folder if it lies in it."""
    return str(neighbour.relative_to(file.parent)) if neighbour.is_relative_to(file.parent) else str(neighbour)


def _short_hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:digits]
