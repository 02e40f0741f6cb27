"""Suites: the tasks, methods, metrics and seeds of a grid, as a TOML file that is checked before anything runs."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictInt,
    ValidationError,
    model_serializer,
)

from ...bounded_files import NoFileError, read_text, shown_path, toml_value, user_path
from ...error_lines import one_line
from ...errors import SuiteError, UsageError
from ...fingerprints import fingerprint
from ...plugins import nearest
from .limit_texts import MEMORY_EXAMPLES, TIME_EXAMPLES, bytes_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Seed = Annotated[StrictInt, Field(ge=0, lt=2**32)]
_SPECS = 'a list of one or more names in quotes, such as ["lime", "occlusion"]'
_SEEDS = "a list of one or more whole numbers from 0, such as [0, 1, 2]"
_EXPECTED = {
    "name": 'lower-case letters, digits and hyphens in quotes, such as "quick"',
    "tasks": _SPECS,
    "methods": _SPECS,
    "metrics": _SPECS,
    "seeds": _SEEDS,
    "explainer_seeds": _SEEDS,
    "time_limit": f"a time in quotes, such as {TIME_EXAMPLES}",
    "memory_limit": f"a size in quotes, such as {MEMORY_EXAMPLES}",
}
# A suite of every plug-in there is takes a thousandth of this.
_MOST_BYTES = 1_000_000
_LIMITS = frozenset({"time_limit", "memory_limit"})


def _number_as_text(value: object) -> object:
    """A plain number of a TOML file as its text; anything else as it is."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _time(text: str) -> str:
    """The text of a time limit, checked."""
    try:
        seconds_of(text, "")
    except UsageError as error:
        raise ValueError(text) from error
    return text


def _memory(text: str) -> str:
    """The text of a memory limit, checked."""
    try:
        bytes_of(text, "")
    except UsageError as error:
        raise ValueError(text) from error
    return text


class Suite(BaseModel):
    """Suite of a benchmark: every method on every model of every task, scored by every metric.

    Attributes:
        name: names the folder of the results.
        tasks, methods, metrics: plug-ins as ``name``, ``name:key=value`` or ``path/to/file.py:Class``; a path is
            relative to the working directory.
        seeds: model seeds; a task whose model does not depend on the seed runs the first only.
        explainer_seeds: seeds of methods that draw random numbers; the others run the first only.
        skipped: methods that are not run, whose stored results are shown as reference rows; no key of a suite file,
            ``beside`` in run files.
        variant: distinguishes the boards of a changed suite; empty for the suite as it was written.
        time_limit: longest time that one call of a plug-in may take, such as ``10 min`` or ``none``; empty if not set.
        memory_limit: most memory that one call of a plug-in may take, such as ``4 GB`` or ``none``; empty if not set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    explainer_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    skipped: Annotated[tuple[str, ...], Field(alias="beside")] = ()
    variant: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] = ""
    time_limit: Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_time)] = ""
    memory_limit: Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_memory)] = ""

    @model_serializer(mode="wrap")
    def _without_unset_limits(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Values without the limits that are not set, so that suites of before keep their fingerprints."""
        return {key: value for key, value in serialise(self).items() if value or key not in _LIMITS}

    @classmethod
    def of(cls, values: Mapping[str, Any], origin: str) -> Suite:
        """Suite from plain values.

        Args:
            values: the keys of a suite file.
            origin: name of the file or object they come from, for the error message.

        Raises:
            SuiteError: a key is unknown or missing, a value does not fit, or something is listed twice.
        """
        try:
            suite = cls(**values)
        except ValidationError as error:
            raise SuiteError(_sentence(error.errors()[0], origin)) from error
        for key in ("tasks", "methods", "metrics", "seeds", "explainer_seeds"):
            listed = getattr(suite, key)
            if len(set(listed)) < len(listed):
                twice = next(item for item, count in Counter(listed).items() if count > 1)
                raise SuiteError(f"{origin} lists {one_line(repr(twice))} twice in {key!r}: leave one out.")
        return suite

    def instead(
        self,
        *,
        tasks: Sequence[str] = (),
        methods: Sequence[str] = (),
        metrics: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> Suite:
        """Copy of this suite with some of its lists replaced by the arguments that are not empty.

        If methods are replaced, the suite's own methods are shown as reference rows.

        Raises:
            SuiteError: something is listed twice.
        """
        lists = {"tasks": tasks, "methods": methods, "metrics": metrics, "seeds": seeds}
        replacements = {key: value for key, value in lists.items() if value}
        changed = self.of(self.model_dump() | replacements, "The command line")
        if changed == self:
            return self
        skipped = [method for method in self.methods if method not in changed.methods]
        values = changed.model_dump() | {"beside": skipped}
        return self.of(values | {"variant": fingerprint(values)[:8]}, "The command line")


def read_suite(name_or_path: str) -> Suite:
    """Read a packaged suite by its name, or a suite file by its path, which ends in ``.toml``.

    Raises:
        SuiteError: there is no such suite or file, or its content is no valid suite.
    """
    if name_or_path in packaged():
        text = resources.files(__package__).joinpath(f"{name_or_path}.toml").read_text("utf-8")
        return _from_file(_parsed(text, name_or_path), f"Suite {name_or_path!r}")
    shown = shown_path(name_or_path)
    if not name_or_path.endswith(".toml"):
        raise SuiteError(
            f"There is no suite named {shown}{nearest(name_or_path, packaged())}; there are "
            f"{', '.join(packaged())}, or give the path of a file ending in .toml."
        )

    def unreadable(reason: str) -> SuiteError:
        return SuiteError(f"The suite file {shown} cannot be read: {reason}.")

    try:
        text = read_text(user_path(name_or_path, unreadable), _MOST_BYTES, unreadable)
    except NoFileError as error:
        raise SuiteError(f"There is no suite file {shown}.") from error
    origin = one_line(name_or_path)
    return _from_file(_parsed(text, origin), origin)


def suite_summary(name: str) -> str:
    """Summary of a packaged suite in one sentence: the first comment of its file."""
    first_line = resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8").partition("\n")[0]
    return first_line.removeprefix("#").strip()


def packaged() -> list[str]:
    """Names of the packaged suites, in alphabetical order."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def _from_file(values: dict[str, Any], origin: str) -> Suite:
    """Suite from the content of a file, which may have fewer keys than :class:`Suite` has fields."""
    if unknown := next((key for key in values if key not in _EXPECTED), None):
        raise SuiteError(_unknown(unknown, origin))
    return Suite.of(values, origin)


def _parsed(text: str, origin: str) -> dict[str, Any]:
    """Content of a TOML file."""
    return toml_value(text, lambda reason: SuiteError(f"{origin} is not valid TOML: {reason}."))


def _unknown(key: str, origin: str) -> str:
    """Message about an unknown key."""
    known = f"{nearest(key, _EXPECTED)}; the keys are {', '.join(_EXPECTED)}"
    return f"{origin} has an unknown key {one_line(repr(key))}{known}."


def _sentence(error: Mapping[str, Any], origin: str) -> str:
    """Message about one validation error of pydantic."""
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return _unknown(key, origin)
    if error["type"] == "missing":
        return f"{origin} has no {key!r}: it must be {_EXPECTED[key]}."
    return f"{origin}: {key!r} must be {_EXPECTED[key]}, not {_shown(error['input'])}."


def _shown(value: object) -> str:
    """A value of a suite file in an error message."""
    try:
        return one_line(repr(value))
    except ValueError:
        return "a number of more than 4,300 digits"
