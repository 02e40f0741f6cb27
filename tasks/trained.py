"""Tasks that train their own models: data once for all seeds, a model for each seed, kept in the cache."""

from __future__ import annotations

import dataclasses
import functools
import logging
import platform
import time
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import DataError, ParameterError
from ..fingerprints import fingerprint, seed_from, tensors_fingerprint
from .base import Task
from .data.batch import Batch, Competence, Names, Outputs
from .models import cache, published
from .models.interpretability import Interpretability, misfit
from .models.memory import peak_memory
from .models.origins import ANEW, PUBLISHED, TRAINED, anew
from .models.published import Basis, Published
from .models.retraining import Retraining
from .models.training import Recipe, train
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The parameters that every task has for :class:`Interpretability`; those that are off are no part of an identity.
_OPTIONS = tuple(field.name for field in dataclasses.fields(Interpretability))
# Raised when the code in models/ trains other weights from the same recipe, so that cached ones are not reused.
_CODE_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """The data of a task, the same for every model seed.

    Attributes:
        train: what the models learn from.
        test: what they are measured on; disjoint from train.
        explained: the sequences of the test set that are explained, with their truths.
        reference: what a removed feature is replaced with, of the dtype of the inputs. One number or token for all, or
            float[D], one for each feature, serves any sequences; a reference of the shape of ``explained.inputs``
            serves these alone, and then the task does not offer its models to be trained again.
        background: sequences of the training set, from which replacements may be drawn.
        names: what to call features, outputs and tokens.
    """

    train: Batch
    test: Batch
    explained: Batch
    reference: Tensor
    background: Batch
    names: Names = field(default_factory=Names)

    @property
    def portable(self) -> bool:
        """Whether the reference says what stands for absence in other sequences too."""
        return self.reference.dim() <= self.explained.inputs.dim() - 2

    def reference_of(self, batch: Batch) -> Tensor:
        """The shape and dtype of ``batch.inputs``: what their features are replaced with; of any batch if portable."""
        return self.reference.to(batch.inputs.dtype).broadcast_to(batch.inputs.shape).clone()


@dataclass(frozen=True)
class Training:
    """What is known of a model's training.

    Attributes:
        seconds: wall time, when it was trained; not the time it took to load it.
        cached: whether it was there this time: published, or in the cache.
        origin: where the model is from; see :mod:`xrnnbench.tasks.models.origins`.
        competence: its held-out score.
        fingerprint: of its weights.
        peak_bytes: how much memory its training took, at most; 0 where the platform cannot tell.
        versions: of the packages it was trained with.
    """

    seconds: float
    cached: bool
    origin: str
    competence: Competence
    fingerprint: str
    peak_bytes: int
    versions: dict[str, str]


@dataclass(frozen=True)
class _Kept:
    """A model with what is known of it."""

    model: nn.Module
    entry: cache.Entry
    origin: str
    cached: bool

    def told(self) -> Training:
        """What others may know."""
        return Training(
            seconds=self.entry.seconds,
            cached=self.cached,
            origin=self.origin,
            competence=self.entry.competence,
            fingerprint=tensors_fingerprint(self.entry.weights),
            peak_bytes=self.entry.peak_bytes,
            versions=self.entry.versions,
        )


@dataclass(frozen=True)
class TrainedTask(Task):
    """A task with models of its own. Write one by giving it ``dataset``, ``network`` and ``competence``.

    The fields of a task are its parameters. All of them are taken to affect the model, and changing one trains a new
    one, except for those named in ``explaining``.

    Attributes:
        instances: how many held-out sequences are explained, a fixed sample; the model does not depend on it.
        entropy, diversity, supervision, masking: what the model is trained for beside the task, so that it becomes
            easier to explain; 0, the default, is nothing. See :class:`Interpretability`. A task that is never trained
            without one gives the field another default.

    Class attributes:
        recipe: how the models are trained.
        outputs_are: what the network returns.
        explaining: the parameters which decide only what is explained, not the model.
    """

    recipe: ClassVar[Recipe] = Recipe(epochs=10)
    outputs_are: ClassVar[Outputs] = "logits"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances"})

    instances: int = 64
    _: KW_ONLY
    entropy: float = 0.0
    diversity: float = 0.0
    supervision: float = 0.0
    masking: float = 0.0

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            whole = isinstance(value, int) and not isinstance(value, bool) and name not in _OPTIONS
            if whole and value < 1:
                raise ParameterError(f"{self.name}: {name}={value} does not fit (it must be at least 1).")
        try:
            wanted = self.interpretability.wanted
        except ParameterError as error:
            raise ParameterError(f"{self.name}: {error}") from error
        if wanted and not self.trainable:
            name, value = next(iter(wanted.items()))
            raise ParameterError(f"{self.name}: {name}={value} does not fit (its model is given, not trained).")

    # ---- what a task gives --------------------------------------------------------------------------------------

    def dataset(self) -> Dataset:
        """Make or load the data; the same every time, without touching the global random state."""
        raise NotImplementedError

    def network(self) -> nn.Module:
        """A fresh, untrained network; its weights may be drawn from the global generator, which is seeded."""
        raise NotImplementedError

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """The trained model's score on the test set, with gate and baseline."""
        raise NotImplementedError

    def target(self, data: Dataset) -> Tensor | None:  # noqa: ARG002  # for those that choose by the data
        """Which output is explained, int64[B]; None for the predicted class, or the first output of a regressor."""
        return None

    # ---- what the base makes of it ------------------------------------------------------------------------------

    @property
    def interpretability(self) -> Interpretability:
        """What the model is trained for beside the task."""
        return Interpretability(**{name: getattr(self, name) for name in _OPTIONS})

    def subject(self, seed: int) -> Subject:
        """See :meth:`Task.subject`.

        Raises:
            DataError: the data are missing or do not fit the network.
        """
        data = self.data()
        found = self._model(seed)
        return Subject(
            model=found.model,
            batch=data.explained,
            reference=data.reference_of(data.explained),
            target=self.target(data),  # type: ignore[arg-type]  # None is replaced by the prediction on creation
            background=data.background,
            outputs_are=self.outputs_are,
            competence=found.entry.competence,
            names=data.names,
            label=f"task {self.spec!r} seed {seed}",
            retraining=self.retraining(),
            model_origin=found.origin,
        ).check()

    def retraining(self) -> Retraining | None:
        """How the models are trained, to train others on other data; None if the reference fits no other sequences.

        Where the test set has targets by step, the explained sequences, which have one for each, stand for it.
        """
        data = self.data()
        if not data.portable:
            return None
        by_step = data.test.targets.dim() > data.explained.targets.dim()
        test = data.explained if by_step else data.test
        return Retraining(data.train, test, data.reference_of, self.network, self.recipe, self.interpretability)

    def training(self, seed: int) -> Training:
        """How the model of this seed was trained; trains it if it is neither published nor in the cache."""
        return self._model(seed).told()

    def trained(self, seed: int) -> Training | None:
        """How the model of this seed was trained, if it is published or in the cache; otherwise None, untrained."""
        found = self._kept(seed)
        return found.told() if found is not None else None

    def listed(self, seed: int) -> Published | None:
        """The published model of this seed and these parameters, whatever else it rests on; asks for no data.

        Raises:
            DataError: the list of published models is damaged.
        """
        return published.listed(self.name, seed, self._shaping_print())

    def published(self, seed: int) -> Published | None:
        """The published model of this seed that rests on all that this task rests on; None if there is none.

        Raises:
            DataError: the list of published models is damaged, or data are missing.
        """
        entry = self.listed(seed)
        return None if entry is None or entry.basis.differing(self.basis()) else entry

    def weights(self, seed: int, fingerprint: str) -> tuple[dict[str, Tensor], Training] | None:
        """The weights of this seed with this fingerprint, and how they were trained, if published or in the cache."""
        found = ((each.entry.weights, each.told()) for each in self._candidates(seed))
        return next((pair for pair in found if pair[1].fingerprint == fingerprint), None)

    def basis(self) -> Basis:
        """What the weights of every seed rest on, but for the version of torch."""
        data = self.data().train
        learnt = {"inputs": data.inputs, "lengths": data.lengths, "targets": data.targets}
        rest = {name: value for name, value in self.identity().items() if name != "parameters"}
        return Basis(
            parameters=self._shaping_print(),
            recipe=fingerprint(rest),
            network=fingerprint(repr(self._untrained())),
            data=fingerprint([tensors_fingerprint(learnt), self.interpretability.basis(data)]),
        )

    def before_training(self) -> Competence:
        """What a network scores that has learnt nothing; gate and baseline are those of the ones that have."""
        return self._measured(self._untrained())

    def data(self) -> Dataset:
        """:meth:`dataset`, made once in a process and checked.

        Raises:
            DataError: data are missing, or a class does not occur among the training targets.
        """
        return _dataset(self)

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; the recipe and the code that follows it belong to it.

        Of :attr:`interpretability` those that are off do not: a model is the same without them and before there were
        any.
        """
        own = {"recipe": dataclasses.asdict(self.recipe), "training": _CODE_VERSION}
        return super().identity() | own | {"parameters": self._decisive(self.parameters)}

    def _decisive(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Without the options that are off."""
        return {name: value for name, value in parameters.items() if value or name not in _OPTIONS}

    def _shaping(self) -> dict[str, Any]:
        """The parameters that shape the model."""
        return self._decisive({name: value for name, value in self.parameters.items() if name not in self.explaining})

    def _shaping_print(self) -> str:
        return fingerprint(self._shaping())

    def _key(self, seed: int, network: nn.Module) -> str:
        """Everything the weights rest on."""
        identity = self.identity()
        identity["parameters"] = self._shaping()
        data = self.data().train
        basis = self.interpretability.basis(data)
        return fingerprint(
            identity
            | ({"interpretability": basis} if basis else {})
            | {
                "seed": seed,
                "network": repr(network),
                "data": tensors_fingerprint({"inputs": data.inputs, "lengths": data.lengths, "targets": data.targets}),
                "torch": torch.__version__,
            }
        )

    def _model(self, seed: int) -> _Kept:
        """The model of a seed: published, in the cache, or trained now."""
        if (found := self._kept(seed)) is not None:
            return found
        found = self._trained(seed)
        cache.save(self._place(seed, self._untrained()), found.entry)
        return found

    def _kept(self, seed: int) -> _Kept | None:
        """The model of a seed that is published or in the cache; None if it is neither, or is to be trained anew."""
        return None if anew() else next(self._candidates(seed), None)

    def _candidates(self, seed: int) -> Iterator[_Kept]:
        """The published model of a seed and the one in the cache, those that there are."""
        if (entry := self.published(seed)) is not None:
            yield self._loaded(_read(entry), PUBLISHED)
        if (found := cache.load(self._place(seed, self._untrained()))) is not None:
            yield self._loaded(found, self._origin(seed))

    def _loaded(self, entry: cache.Entry, origin: str) -> _Kept:
        model = self._untrained()
        model.load_state_dict(entry.weights)
        # measured again: gate and baseline may have been edited since, and the score costs little
        return _Kept(model, dataclasses.replace(entry, competence=self._measured(model)), origin, cached=True)

    def _origin(self, seed: int) -> str:
        """Where a model that is not published is from; where another was published, the reason is also logged."""
        if anew():
            return ANEW
        entry = self.listed(seed)
        if entry is None:
            return TRAINED
        differing = " and ".join(entry.basis.differing(self.basis()))
        _log.warning(
            "The published model of %s, seed %d, rests on another %s than there is here; one that is trained here "
            "stands in for it.",
            self.spec,
            seed,
            differing,
        )
        return f"{TRAINED}, for the published one rests on another {differing}"

    def _place(self, seed: int, untrained: nn.Module) -> Path:
        """The file of a seed's model.

        Raises:
            ParameterError: the network or the data do not serve what it is to be trained for.
        """
        data = self.data()
        reference_of = data.reference_of if data.portable else None
        if reason := misfit(self.interpretability, untrained, data.train, reference_of):
            raise ParameterError(f"{self.name} cannot be trained with {reason}.")
        return cache.place(self.name, seed, self._key(seed, untrained))

    def _untrained(self) -> nn.Module:
        """A network in evaluation mode; its weights will be replaced, so the random numbers they took are put back."""
        with torch.random.fork_rng(devices=[]):
            return self.network().eval()

    def _measured(self, model: nn.Module) -> Competence:
        with torch.no_grad():
            return self.competence(model, self.data())

    def _trained(self, seed: int) -> _Kept:
        data = self.data()
        origin = self._origin(seed)
        with peak_memory() as memory:
            start = time.perf_counter()
            reference_of = data.reference_of if data.portable else None
            model = train(self.network, data.train, self.recipe, seed, self.interpretability, reference_of)
            seconds = time.perf_counter() - start
        competence = self._measured(model)
        weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        entry = cache.Entry(weights, competence, seconds, memory.peak_bytes, _versions())
        return _Kept(model, entry, origin, cached=False)


def held_out(test: Batch, count: int, name: str) -> Batch:
    """A fixed sample of the test set, in its order.

    Args:
        test: all held-out sequences.
        count: how many to take.
        name: of the task, for the message.

    Raises:
        ParameterError: there are not that many.
    """
    if count > len(test):
        raise ParameterError(f"{name}: instances={count}, but only {len(test)} sequences are held out.")
    return test.select(sample(len(test), count, name, "explained"))


def checked_share(task: str, name: str, share: float) -> float:
    """A share, if it lies between 0 and 1.

    Raises:
        ParameterError: it does not.
    """
    if not 0 < share < 1:
        raise ParameterError(f"{task}: {name}={share} does not fit (it must lie between 0 and 1).")
    return share


def background(train: Batch, name: str, count: int = 100) -> Batch:
    """A fixed sample of the training set, in its order; all of it if it is small."""
    return train.select(sample(len(train), min(count, len(train)), name, "background"))


def sample(population: int, count: int, *parts: object) -> Tensor:
    """int64[count]: distinct numbers below population in ascending order, chosen by the parts alone."""
    rng = torch.Generator().manual_seed(seed_from(*parts))
    return torch.randperm(population, generator=rng)[:count].sort().values


def missing_extra(task: str, extra: str) -> DataError:
    """The sentence for a task whose optional packages are not installed."""
    return DataError(f"Task {task!r} needs the extra {extra!r}: pip install 'xrnnbench[{extra}]'.")


def _read(published: Published) -> cache.Entry:
    """A published model as it is kept in the cache."""
    weights = safetensors.torch.load(published.read())
    score = Competence(**published.competence.model_dump())
    return cache.Entry(weights, score, published.seconds, published.peak_bytes, published.versions)


@functools.lru_cache(maxsize=8)
def _dataset(task: TrainedTask) -> Dataset:
    data = task.dataset()
    # of produced tokens, some of a vocabulary are never a target, such as its padding
    if not data.train.targets.is_floating_point() and not data.train.context:
        _check_classes(task, data)
    return data


def _check_classes(task: TrainedTask, data: Dataset) -> None:
    """Every class there is must be there to be learnt."""
    seen = data.train.targets
    if seen.dim() > 1:
        seen = seen[data.train.valid]
    count = max(len(data.names.outputs), int(seen.max()) + 1, int(data.test.targets.max()) + 1)
    missing = sorted(set(range(count)) - set(seen.unique().tolist()))
    if missing:
        names = data.names.outputs
        called = f"{missing[0]} ({names[missing[0]]})" if missing[0] < len(names) else str(missing[0])
        raise DataError(
            f"Task {task.spec!r} has no training sequence of class {called}: add some, or leave the class out."
        )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "safetensors": safetensors.__version__,
    }
