"""Plug-ins: the common base class of tasks, methods, metrics and interventions, and their registry.

A plug-in is a frozen dataclass: its fields are its parameters, its :attr:`Plugin.spec` identifies it in results,
its docstring is its page. Its spec is ``name`` or ``name:key=value,key=value`` everywhere: on the command line, in
suite files and in the Python API. Plug-ins come from three places:

* built-ins are in the packages ``xrnnbench.tasks``, ``xrnnbench.methods`` and ``xrnnbench.metrics``, all modules of
  which are imported;
* installed packages register modules or classes in the entry-point group ``xrnnbench.plugins``;
* ``path/to/file.py:Class`` names a class in a file, without installing anything; the file may import what lies beside
  it, see :mod:`.file_modules`.

A package is imported at the first look-up of its kind, so that importing xrnnbench stays fast.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
import typing
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pydantic

from .error_lines import error_line
from .errors import ParameterError, UnknownNameError, UsageError
from .file_modules import FilesOfFolder, load_module, make_importable
from .spec_files import file_spec

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable

# The package that holds the built-ins of each kind.
FLOORS: typing.Final[Mapping[str, str]] = {
    "task": "tasks",
    "method": "methods",
    "metric": "metrics",
    "intervention": "tasks",
}
ENTRY_POINT_GROUP: typing.Final = "xrnnbench.plugins"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_registry: dict[tuple[str, str], type[Plugin]] = {}
_loaded: set[str] = set()


@dataclass(frozen=True)
class Plugin:
    """Base class of every task, method, metric and intervention; a plug-in is identified by name, version, parameters.

    Class attributes to set:
        kind: ``"task"``, ``"method"``, ``"metric"`` or ``"intervention"``; set once by the base class of the kind.
        name: kebab-case, unique within the kind.
        version: to be increased whenever the results for the same parameters change, so that old cells are not reused.
        uses: parameters that name another plug-in, each with its kind, such as ``{"by": "intervention"}``; the version
            and the source of that plug-in then belong to the identity of this one.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    source_hash: ClassVar[str] = ""
    uses: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by name, defaults included."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}

    @property
    def spec(self) -> str:
        """The name with the parameters that differ from their defaults: ``integrated-gradients:steps=64``."""
        changed = [
            f"{field.name}={_text(self.shown_value(field.name))}"
            for field in dataclasses.fields(self)
            if field.init and getattr(self, field.name) != _default(field)
        ]
        return f"{self.name}:{','.join(changed)}" if changed else self.name

    def identity(self) -> dict[str, Any]:
        """Everything that determines this plug-in's results, ready for JSON: the input of a cell's fingerprint."""
        parameters = {name: self._identified(name, value) for name, value in self.parameters.items()}
        identity = {"kind": self.kind, "name": self.name, "version": self.version, "parameters": parameters}
        return identity | ({"source": self.source_hash} if self.source_hash else {})

    def used(self, parameter: str) -> Plugin:
        """The plug-in that a parameter names, see :attr:`uses`; made once for each instance."""
        made: dict[str, Plugin] = self.__dict__.setdefault("_used", {})
        if parameter not in made:
            made[parameter] = used_plugin(self.uses[parameter], str(getattr(self, parameter)))
        return made[parameter]

    def shown_value(self, parameter: str) -> object:
        """The value of a parameter as results show it: a plug-in from a file by its name, not by the path."""
        value = getattr(self, parameter)
        if parameter in self.uses and file_spec(str(value)) is not None:
            return self.used(parameter).spec.replace(",", ";")
        return value

    def _identified(self, parameter: str, value: object) -> object:
        """The value of a parameter as it is identified: of a plug-in that it names also the version and the source.

        A first version without a file adds nothing, so that identities from before are the same.
        """
        if parameter not in self.uses:
            return value
        used = self.used(parameter)
        if used.version == 1 and not used.source_hash:
            return value
        source = f" source {used.source_hash}" if used.source_hash else ""
        return f"{self.shown_value(parameter)} version {used.version}{source}"

    @classmethod
    def page(cls) -> str:
        """The dedented docstring, which ``xrnnbench show`` prints."""
        return inspect.getdoc(cls) or ""


PluginT = TypeVar("PluginT", bound=Plugin)


def register(cls: type[PluginT]) -> type[PluginT]:
    """Class decorator that registers a plug-in under its name.

    Raises:
        UsageError: the class is no frozen dataclass, its name is not kebab-case, or the name is taken.
    """
    where = f"{cls.__module__}.{cls.__qualname__}"
    own = [name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)]
    # a class that only inherits from a dataclass has none of its own fields as parameters
    unmade = bool(own) and "__dataclass_params__" not in cls.__dict__
    if unmade or not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed has no such member
        raise UsageError(f"Plug-in {where} is not a frozen dataclass: put @dataclass(frozen=True) below @register.")
    if cls.kind not in FLOORS:
        bases = "Task, Explainer, Metric or Intervention"
        raise UsageError(f"Plug-in {where} has kind {cls.kind!r}: derive it from {bases}.")
    if not _NAME.fullmatch(cls.name):
        raise UsageError(f"Plug-in {where} is named {cls.name!r}: a name is kebab-case, such as 'my-method'.")
    known = _registry.get((cls.kind, cls.name))
    if known is not None and _origin(known) != _origin(cls):
        raise UsageError(
            f"Two plug-ins are named {cls.kind} {cls.name!r}: {known.__module__}.{known.__qualname__} and {where}; "
            "rename one."
        )
    _registry[cls.kind, cls.name] = cls
    return cls


def names(kind: str) -> list[str]:
    """All names registered for a kind, in alphabetical order."""
    _load(kind)
    return sorted(name for registered, name in _registry if registered == kind)


def registered() -> list[type[Plugin]]:
    """Classes of all plug-ins that are loaded, those of files and of installed packages too."""
    return list(_registry.values())


def find(kind: str, name: str) -> type[Plugin]:
    """The class registered under a name.

    Raises:
        UnknownNameError: no plug-in has that name; the message offers the most similar names.
    """
    _load(kind)
    if (cls := _registry.get((kind, name))) is not None:
        return cls
    raise UnknownNameError(
        f"There is no {kind} named {name!r}{nearest(name, names(kind))}; 'xrnnbench list {kind}s' shows all."
    )


def build(kind: str, spec: str | Plugin) -> Plugin:
    """Make a plug-in from its spec; an instance is returned unchanged.

    Args:
        kind: ``"task"``, ``"method"``, ``"metric"`` or ``"intervention"``.
        spec: ``name``, ``name:key=value,…``, ``path/to/file.py:Class`` or ``path/to/file.py:Class:key=value,…``.

    Raises:
        UnknownNameError: no such plug-in.
        ParameterError: no such parameter, or a value that does not fit.
        UsageError: the file cannot be loaded, or the instance is of another kind.
    """
    if isinstance(spec, Plugin):
        if spec.kind != kind:
            raise UsageError(f"{spec.spec!r} is a {spec.kind}, and a {kind} was asked for.")
        return spec
    if (file := file_spec(spec)) is not None:
        return configure(_class_in_file(kind, file.path, file.name), file.parameters)
    if spec.endswith(".py") and "=" not in spec:  # a file may also be the value of a parameter
        raise UsageError(f"{spec} is a file: name the {kind} in it, as in {spec}:NAME.")
    name, _, parameters = spec.partition(":")
    return configure(find(kind, name.strip()), parameters)


def used_plugin(kind: str, spec: str) -> Plugin:
    """The plug-in that a parameter of another one names; its own parameters are separated by semicolons.

    Raises:
        UsageError: as for :func:`build`.
    """
    return build(kind, spec.replace(";", ","))


def configure(cls: type[Plugin], parameters: str) -> Plugin:
    """Make a plug-in of this class from ``key=value,key=value``.

    Raises:
        ParameterError: no such parameter, or a value that does not fit.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in parameters.split(","))):
        key, equals, text = item.partition("=")
        if not equals:
            raise ParameterError(f"{cls.name}: {item!r} is not of the form key=value.")
        if key not in fields:
            raise ParameterError(f"{cls.name} has no parameter {key!r}{nearest(key, fields)}; {_listed(fields)}.")
        values[key] = _parse(cls.name, key, text, hints[key])
    missing = [name for name, field in fields.items() if name not in values and _default(field) is dataclasses.MISSING]
    if missing:
        raise ParameterError(f"{cls.name} needs a value for {missing[0]!r}: write {cls.name}:{missing[0]}=…")
    try:
        return cls(**values)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{cls.name} cannot be made ({error_line(error)}); mend its __post_init__.") from error


def kebab(text: str) -> str:
    """Kebab-case of any text, such as a user's name for a task: what folders and files are called by.

    Letters are lower-cased and lose their accents; other characters become single hyphens. A text without any letter or
    digit of ASCII becomes ``task-`` and eight digits of its hash.

    >>> kebab("My patients (ward 3)"), kebab("Überleben"), kebab("患者")
    ('my-patients-ward-3', 'uberleben', 'task-9db4a3b3')
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall("[a-z0-9]+", ascii_text)) or f"task-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggestion for an unknown name, ``", did you mean 'x' or 'y'?"``; empty if no known name is similar."""
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.5)
    return f", did you mean {' or '.join(map(repr, close))}?" if close else ""


def sources() -> dict[str, str]:
    """Installed distributions that register plug-ins by the entry-point group, each with its version."""
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    return {point.dist.name: point.dist.version for point in points if point.dist is not None}


def is_foreign(plugin: Plugin) -> bool:
    """Whether a plug-in, or one that its parameters name, does not come with xrnnbench."""
    values = [getattr(plugin, field.name) for field in dataclasses.fields(plugin)]
    return not _is_own(type(plugin)) or any(map(_is_foreign_value, values))


def _is_foreign_value(value: object) -> bool:
    """Whether the value of a parameter is, or names, a plug-in that does not come with xrnnbench."""
    if isinstance(value, Plugin):
        return is_foreign(value)
    if not isinstance(value, str):
        return False
    named = [cls for (_, name), cls in _registry.items() if name == value.partition(":")[0]]
    return ".py:" in value or not all(map(_is_own, named))


def _is_own(cls: type) -> bool:
    return cls.__module__.startswith(f"{__package__}.")


def _load(kind: str) -> None:
    """Import all plug-ins of a kind, and those of installed packages, once.

    Raises:
        UsageError: there is no such kind, or a package's plug-in cannot be loaded.
    """
    if kind not in FLOORS:
        raise UsageError(f"There is no kind of plug-in named {kind!r}; there are {', '.join(FLOORS)}.")
    if kind in _loaded:
        return
    _loaded.add(kind)
    try:
        _import_tree(importlib.import_module(f"{__package__}.{FLOORS[kind]}"))
        if "entry points" not in _loaded:
            _loaded.add("entry points")
            _import_entry_points()
    except BaseException:
        _loaded.difference_update({kind, "entry points"})
        raise


def _import_tree(package: types.ModuleType) -> None:
    """Import every module below a package; its plug-ins register themselves."""
    for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)


def _import_entry_points() -> None:
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except UsageError:
            raise
        except Exception as error:
            origin = point.dist.name if point.dist is not None else "an unknown distribution"
            raise UsageError(
                f"The plug-in {point.name!r} of {origin} cannot be loaded ({error_line(error)}); mend or uninstall it."
            ) from error


def _class_in_file(kind: str, path: str, name: str) -> type[Plugin]:
    """The registered plug-in class of a Python file.

    Raises:
        UsageError: it cannot be loaded, or is no plug-in of the kind.
    """
    module = load_file(path)
    try:
        return _plugin_class(kind, module, path, name)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path}:{name} cannot be used ({error_line(error)}); mend it first.") from error


def _plugin_class(kind: str, module: types.ModuleType, path: str, name: str) -> type[Plugin]:
    """The plug-in class of a module, registered; what the module and the class do when they are asked may raise."""
    cls = getattr(module, name, None)
    if cls is None:
        known = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Plugin)]
        raise UnknownNameError(f"{path} has no class {name!r}{nearest(name, known) or '.'}")
    if not (inspect.isclass(cls) and issubclass(cls, Plugin) and cls.kind == kind):
        way = f"derive it from the {kind}s' base class"
        if kind == "task" and not inspect.isclass(cls):
            way += ", or give a model of yours its sequences with --data"
        raise UsageError(f"{path}:{name} is no {kind}: {way}.")
    _load(kind)
    return register(cls)


def load_file(path: str) -> types.ModuleType:
    """Import a Python file by its path, once for each content of it and of the neighbours that it imports.

    A neighbour is a Python file or package that lies beside it: ``import helpers``, ``from helpers import f``,
    ``import pkg.sub``, and, where the file is in a package, ``from .helpers import f``. Neighbours come before
    installed packages, as for a script, and after the standard library. They are modules of this folder alone: what
    other code imports is unchanged, and modules that are imported already stay what they are. See
    :mod:`xrnnbench.file_modules`.

    The plug-ins of each file get the SHA-256 of it and of the neighbours that it imports as source hash; that of its
    bytes if it imports none.

    Raises:
        UsageError: there is no such file, or it or a neighbour raises when imported.
    """
    return load_module(path, _set_source)


def take_files(folders: Iterable[FilesOfFolder]) -> None:
    """Make the plug-ins of another process's files importable here; see :func:`.file_modules.loaded_files`."""
    make_importable(folders, _set_source)


def _set_source(module: types.ModuleType, digest: str) -> None:
    """Give the plug-ins that a module defines their source hash."""
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, Plugin) and value.__module__ == module.__name__:
            value.source_hash = digest


def _origin(cls: type[Plugin]) -> tuple[str, str]:
    """File and qualified name of a class; a file that changed and was loaded again has the same origin."""
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__, cls.__qualname__


def _default(field: dataclasses.Field[Any]) -> object:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _listed(fields: Iterable[str]) -> str:
    """The parameters of a plug-in as part of an error message."""
    known = sorted(fields)
    return f"it has {', '.join(known)}" if known else "it has none"


def _text(value: object) -> str:
    """A parameter's value as text in a spec, the inverse of :func:`_parse`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)


def _parse(name: str, key: str, text: str, hint: Any) -> object:  # noqa: ANN401  # a type, of whatever form
    """Parse a parameter's value from its text; tuples are written with slashes (``fractions=0.1/0.2``).

    Raises:
        ParameterError: the value does not fit the parameter's type.
    """
    value: object = text.split("/") if typing.get_origin(hint) is tuple else text
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ParameterError(f"{name}: {key}={text} does not fit ({reason}).") from error
