"""Tasks that train their own models: one dataset for all seeds, and one cached model for each seed."""

from __future__ import annotations

import dataclasses
import logging
import platform
import time
from collections import OrderedDict
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import DataError, ParameterError
from ..fingerprints import fingerprint, seed_from, tensors_fingerprint
from ..memory import peak_memory
from .base import Task
from .data.batch import Batch, Competence, Names, Outputs
from .engine.isolation import same_randomness, seed_generators
from .models import cache, published
from .models.interpretability import Interpretability, unsupported_option
from .models.networks import Cell
from .models.origins import ANEW, PUBLISHED, TRAINED, anew
from .models.published import Basis, Published
from .models.retraining import Retraining
from .models.training import Recipe, train
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Parameters of every task that set :class:`Interpretability`; those that are off are no part of its identity.
_OPTIONS = tuple(field.name for field in dataclasses.fields(Interpretability))
# Increased when the code in models/ trains other weights from the same recipe, so that cached ones are not reused.
_CODE_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Data of a task, the same for every model seed.

    Attributes:
        train: the training sequences.
        test: the sequences on which competence is measured; disjoint from train.
        explained: the sequences of the test set that are explained, with their truths.
        reference: values that replace removed features (called baseline in captum), of the dtype of the inputs. One
            number or token for all features, or float[D] with one for each, fits any sequences. A reference of the
            shape of ``explained.inputs`` fits these alone; the task's models cannot be retrained then.
        background: sequences of the training set, from which replacements may be drawn.
        names: names of features, outputs and tokens.
    """

    train: Batch
    test: Batch
    explained: Batch
    reference: Tensor
    background: Batch
    names: Names = field(default_factory=Names)

    @property
    def portable(self) -> bool:
        """Whether the reference also fits other sequences than the explained ones."""
        return self.reference.dim() <= self.explained.inputs.dim() - 2

    def reference_of(self, batch: Batch) -> Tensor:
        """The reference of a batch, in the shape and dtype of its inputs; of any batch if :attr:`portable`."""
        return self.reference.to(batch.inputs.dtype).broadcast_to(batch.inputs.shape).clone()


@dataclass(frozen=True)
class Training:
    """Record of a model's training.

    Attributes:
        seconds: wall time of the training; not the time to load the model.
        cached: whether the model was loaded this time, as published or from the cache.
        origin: origin of the model; see :mod:`xrnnbench.tasks.models.origins`.
        competence: its held-out score.
        fingerprint: of its weights.
        peak_bytes: peak memory of its training, in bytes; None where it could not be measured.
        versions: of the packages it was trained with.
    """

    seconds: float
    cached: bool
    origin: str
    competence: Competence
    fingerprint: str
    peak_bytes: int | None
    versions: dict[str, str]


@dataclass(frozen=True)
class _TrainedModel:
    """A trained network with its cache entry and origin."""

    network: nn.Module
    entry: cache.CachedModel
    origin: str
    cached: bool

    def training(self) -> Training:
        """The record of its training."""
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
class Belongings:
    """What a task has sent to another process, so that this makes the same model without any file of its own.

    Attributes:
        data: of the task.
        weights: name and content of a file of the cache; None if the model is published, or not trained yet.
    """

    data: Dataset
    weights: tuple[str, bytes] | None


@dataclass(frozen=True)
class TrainedTask(Task):
    """Base class of tasks that train their own models; a subclass defines ``dataset``, ``network`` and ``competence``.

    The fields of a task are its parameters. Every parameter is taken to affect the model, so changing it trains a new
    one, except for those named in ``explaining``.

    Attributes:
        instances: number of held-out sequences that are explained, a fixed sample; the model does not depend on it.
        entropy, diversity, supervision, masking: options of training for interpretability, which make the model easier
            to explain; 0, the default, switches an option off. See :class:`Interpretability`. A task whose model is
            always trained with an option overrides its default.

    Class attributes:
        recipe: hyperparameters of the training.
        outputs_are: the kind of the network's outputs: ``"logits"``, ``"probabilities"`` or ``"values"``.
        explaining: the parameters that affect only which sequences are explained, not the model.
        later: parameters that were added when models of the task already existed; at their default they are no part of
            the identity, so that stored results are still found.
    """

    recipe: ClassVar[Recipe] = Recipe(epochs=10)
    outputs_are: ClassVar[Outputs] = "logits"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances"})
    later: ClassVar[frozenset[str]] = frozenset()

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
            active = self.interpretability.active
        except ParameterError as error:
            raise ParameterError(f"{self.name}: {error}") from error
        if active and not self.trainable:
            name, value = next(iter(active.items()))
            raise ParameterError(f"{self.name}: {name}={value} does not fit (its model is given, not trained).")

    # ---- defined by subclasses ----------------------------------------------------------------------------------

    def dataset(self) -> Dataset:
        """Make or load the data; deterministic, and without a change of the global random states."""
        raise NotImplementedError

    def network(self) -> nn.Module:
        """A fresh, untrained network; its initial weights may be drawn from the global generator, which is seeded."""
        raise NotImplementedError

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """The trained model's score on the test set, with gate and baseline."""
        raise NotImplementedError

    def target(self, data: Dataset) -> Tensor | None:  # noqa: ARG002  # for subclasses that choose by the data
        """Index int64[B] of the explained output; None for the predicted class, or the first output of a regressor."""
        return None

    # ---- derived from them --------------------------------------------------------------------------------------

    @property
    def interpretability(self) -> Interpretability:
        """Options of training for interpretability."""
        return Interpretability(**{name: getattr(self, name) for name in _OPTIONS})

    def subject(self, seed: int) -> Subject:
        """See :meth:`Task.subject`.

        Raises:
            DataError: the data are missing or do not fit the network.
        """
        trained = self._model(seed)
        label = f"task {self.spec!r} seed {seed}"
        return self._subject(trained.network, trained.entry.competence, trained.origin, label).check()

    def untrained_subject(self) -> Subject:
        """Subject of an untrained network, of the sizes of the task's models: its passes take as long as theirs.

        Raises:
            DataError: the data are missing.
        """
        return self._subject(self._untrained(), None, "", f"task {self.spec!r} untrained")

    def _subject(self, network: nn.Module, competence: Competence | None, origin: str, label: str) -> Subject:
        """Subject of a network with the explained sequences."""
        data = self.data()
        return Subject(
            model=network,
            batch=data.explained,
            reference=data.reference_of(data.explained),
            target=self.target(data),  # type: ignore[arg-type]  # None is replaced by the prediction on creation
            background=data.background,
            outputs_are=self.outputs_are,
            competence=competence,
            names=data.names,
            label=label,
            retraining=self.retraining(),
            model_origin=origin,
        )

    def retraining(self) -> Retraining | None:
        """Data, network and recipe for training the models again; None if the reference fits no other sequences.

        If the test set has targets by step, the explained sequences, which have one target each, are used instead.
        """
        data = self.data()
        if not data.portable:
            return None
        by_step = data.test.targets.dim() > data.explained.targets.dim()
        test = data.explained if by_step else data.test
        return Retraining(data.train, test, data.reference_of, self.network, self.recipe, self.interpretability)

    def training(self, seed: int) -> Training:
        """Record of the training of a seed's model, which is trained if it is neither published nor in the cache."""
        return self._model(seed).training()

    def trained(self, seed: int) -> Training | None:
        """Record of the training of a seed's model; None if the model is neither published nor in the cache."""
        model = self._load(seed)
        return model.training() if model is not None else None

    def listed(self, seed: int) -> Published | None:
        """The published model of this seed and these parameters, whatever the rest of its basis; needs no data.

        Raises:
            DataError: the list of published models is damaged.
        """
        return published.find_entry(self.name, seed, self._model_parameters_hash())

    def published(self, seed: int) -> Published | None:
        """The published model of this seed whose basis is that of this task; None if there is none.

        Raises:
            DataError: the list of published models is damaged, or data are missing.
        """
        entry = self.listed(seed)
        return None if entry is None or entry.basis.differing(self.basis()) else entry

    def available(self, seed: int) -> bool:
        """Whether the model of a seed is published or in the cache; its weights are not read.

        Raises:
            DataError: the list of published models is damaged, or data are missing.
        """
        return self.published(seed) is not None or self._cache_path(seed, self._untrained()).is_file()

    def weights(self, seed: int, fingerprint: str) -> tuple[dict[str, Tensor], Training] | None:
        """Weights of a seed with a given fingerprint, and the record of their training.

        Returns:
            the state dict and the record; None if no such weights are published or in the cache.
        """
        candidates = ((model.entry.weights, model.training()) for model in self._candidates(seed))
        return next((pair for pair in candidates if pair[1].fingerprint == fingerprint), None)

    def basis(self) -> Basis:
        """Fingerprints of everything that determines the weights of a seed, except for the version of torch."""
        data = self.data().train
        tensors = {"inputs": data.inputs, "lengths": data.lengths, "targets": data.targets}
        rest = {name: value for name, value in self._model_identity().items() if name != "parameters"}
        return Basis(
            parameters=self._model_parameters_hash(),
            recipe=fingerprint(rest),
            network=fingerprint(repr(self._untrained())),
            data=fingerprint([tensors_fingerprint(tensors), self.interpretability.basis(data)]),
        )

    def before_training(self) -> Competence:
        """Competence of an untrained network; gate and baseline are those of the trained ones."""
        return self._measured(self._untrained())

    def data(self) -> Dataset:
        """The checked result of :meth:`dataset`, made once in a process.

        Raises:
            DataError: data are missing, or a class does not occur among the training targets.
        """
        return _DATASETS.of(self)

    def belongings(self, seed: int) -> Belongings:
        """What another process needs to make the model of a seed: the data, and weights that are not published.

        Raises:
            DataError: data are missing.
        """
        needed = not anew() and self.published(seed) is None
        return Belongings(self.data(), self.weights_file(seed) if needed else None)

    def take(self, belongings: Belongings) -> None:
        """Use the data and the weights that another process has sent."""
        _DATASETS.keep(self, belongings.data)
        if belongings.weights is not None:
            cache.keep_file(*belongings.weights)

    def weights_file(self, seed: int) -> tuple[str, bytes] | None:
        """Name and content of the file of a model that is in the cache; None if there is none."""
        path = self._cache_path(seed, self._untrained())
        return (path.name, path.read_bytes()) if path.is_file() else None

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; it includes the recipe and the version of the training code.

        Options of :attr:`interpretability` that are off are left out, so that models trained before an option existed
        keep their identity.
        """
        own = {"recipe": self.recipe.parameters(), "training": _CODE_VERSION}
        identity = super().identity()
        return identity | own | {"parameters": self._without_inactive(identity["parameters"])}

    def _without_inactive(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Parameters without the options of interpretability that are off, and without later ones at their default."""
        unset = {
            f.name for f in dataclasses.fields(self) if f.name in self.later and getattr(self, f.name) == f.default
        }
        return {
            name: value for name, value in parameters.items() if (value or name not in _OPTIONS) and name not in unset
        }

    def _model_parameters(self) -> dict[str, Any]:
        """The parameters that affect the model."""
        parameters = super().identity()["parameters"]
        shaping = {name: value for name, value in parameters.items() if name not in self.explaining}
        return self._without_inactive(shaping)

    def _model_identity(self) -> dict[str, Any]:
        """The identity of the model: without what only selects or names what is explained."""
        return self.identity() | {"name": type(self).name, "parameters": self._model_parameters()}

    def _model_parameters_hash(self) -> str:
        return fingerprint(self._model_parameters())

    def _key(self, seed: int, network: nn.Module) -> str:
        """Fingerprint of everything that determines the weights of a seed."""
        identity = self._model_identity()
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

    def _model(self, seed: int) -> _TrainedModel:
        """The model of a seed: published, from the cache, or trained now and saved to the cache."""
        if (loaded := self._load(seed)) is not None:
            return loaded
        trained = self._train(seed)
        cache.save(self._cache_path(seed, self._untrained()), trained.entry)
        return trained

    def _load(self, seed: int) -> _TrainedModel | None:
        """The published or cached model of a seed; None if there is none, or if models are to be trained anew."""
        return None if anew() else next(self._candidates(seed), None)

    def _candidates(self, seed: int) -> Iterator[_TrainedModel]:
        """The published model of a seed, then the cached one, as far as they exist."""
        if (entry := self.published(seed)) is not None:
            yield self._restored(_read(entry), PUBLISHED)
        if (cached := cache.load(self._cache_path(seed, self._untrained()))) is not None:
            yield self._restored(cached, self._origin(seed))

    def _restored(self, entry: cache.CachedModel, origin: str) -> _TrainedModel:
        """A network with the weights of a cache entry.

        Raises:
            DataError: the weights are those of another network.
        """
        network = self._untrained()
        try:
            network.load_state_dict(entry.weights)
        except RuntimeError as error:
            raise DataError(
                f"The stored model of {self.spec!r} ({origin}) has other weights than the network of the task: say "
                "--retrain to train it instead."
            ) from error
        # measured again: gate and baseline may have been edited since, and measuring is cheap
        return _TrainedModel(
            network, dataclasses.replace(entry, competence=self._measured(network)), origin, cached=True
        )

    def _origin(self, seed: int) -> str:
        """Origin of a model that is not published; if one with another basis is published, a warning is logged."""
        if anew():
            return ANEW
        entry = self.listed(seed)
        if entry is None:
            return TRAINED
        differing = " and ".join(entry.basis.differing(self.basis()))
        _log.warning(
            "The published model of %s, seed %d, has another %s than the task has here; a model trained here is used "
            "instead.",
            self.spec,
            seed,
            differing,
        )
        return f"{TRAINED}, for the published one rests on another {differing}"

    def _cache_path(self, seed: int, untrained: nn.Module) -> Path:
        """Path of the cache file of a seed's model.

        Raises:
            ParameterError: the network or the data do not support an option of interpretability.
        """
        data = self.data()
        reference_of = data.reference_of if data.portable else None
        if reason := unsupported_option(self.interpretability, untrained, data.train, reference_of):
            raise ParameterError(f"{self.name} cannot be trained with {reason}.")
        return cache.model_path(self.name, seed, self._key(seed, untrained))

    def _untrained(self) -> nn.Module:
        """A fresh network in evaluation mode, created without a change of the global generator."""
        with torch.random.fork_rng(devices=[]):
            return self.network().eval()

    def _measured(self, model: nn.Module) -> Competence:
        with torch.no_grad():
            return self.competence(model, self.data())

    def _train(self, seed: int) -> _TrainedModel:
        """Train the model of a seed and measure time, memory and competence."""
        data = self.data()
        origin = self._origin(seed)
        with peak_memory() as memory:
            start = time.perf_counter()
            reference_of = data.reference_of if data.portable else None
            network = train(self.network, data.train, self.recipe, seed, self.interpretability, reference_of)
            seconds = time.perf_counter() - start
        competence = self._measured(network)
        weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        entry = cache.CachedModel(weights, competence, seconds, memory.peak_bytes, _versions())
        return _TrainedModel(network, entry, origin, cached=False)


@dataclass(frozen=True)
class RecurrentTask(TrainedTask):
    """Base class of tasks whose network is recurrent, with any of the cells.

    Attributes:
        cell: the recurrent cell; see :class:`xrnnbench.tasks.models.networks.RecurrentNet`. Training is the same for
            all: the recipe was made for the default.
        layers: number of stacked recurrent layers. What a step adds to the state of a linear recurrence (``mingru``,
            ``mlstm``, ``lru``, ``mamba``) depends on that step alone; from the second layer on it depends on those
            before it too.
    """

    later: ClassVar[frozenset[str]] = frozenset({"cell", "layers"})

    cell: Cell = field(default="gru", kw_only=True)
    layers: int = field(default=1, kw_only=True)


def held_out(test: Batch, count: int, name: str) -> Batch:
    """A fixed sample of the test set, in its order.

    Args:
        test: all held-out sequences.
        count: size of the sample.
        name: name of the task, which seeds the sample and appears in the error message.

    Raises:
        ParameterError: the test set has fewer sequences.
    """
    if count > len(test):
        raise ParameterError(f"{name}: instances={count}, but only {len(test)} sequences are held out.")
    return test.select(sample(len(test), count, name, "explained"))


def checked_share(task: str, name: str, share: float) -> float:
    """Check that a share lies between 0 and 1, both excluded, and return it.

    Args:
        task: name of the task, for the error message.
        name: name of the parameter.
        share: its value.

    Raises:
        ParameterError: the share does not lie between 0 and 1.
    """
    if not 0 < share < 1:
        raise ParameterError(f"{task}: {name}={share} does not fit (it must lie between 0 and 1).")
    return share


def background(train: Batch, name: str, count: int = 100) -> Batch:
    """A fixed sample of the training set, in its order; the whole set if it is smaller.

    Args:
        train: the training sequences.
        name: name of the task, which seeds the sample.
        count: size of the sample.
    """
    return train.select(sample(len(train), min(count, len(train)), name, "background"))


def sample(population: int, count: int, *parts: object) -> Tensor:
    """Random sample int64[count] without replacement from 0 … population − 1, in ascending order.

    The parts alone decide the sample: they seed the generator.
    """
    rng = torch.Generator().manual_seed(seed_from(*parts))
    return torch.randperm(population, generator=rng)[:count].sort().values


def missing_extra(task: str, extra: str) -> DataError:
    """Error for a task whose optional packages are not installed."""
    return DataError(f"Task {task!r} needs the extra {extra!r}: pip install 'xrnnbench[{extra}]'.")


def _read(published: Published) -> cache.CachedModel:
    """Read a published model in the form of a cache entry."""
    try:
        weights = safetensors.torch.load(published.read())
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"The published model {published.file} holds no weights ({error}): publish it again, or say --retrain."
        ) from error
    score = Competence(**published.competence.model_dump())
    return cache.CachedModel(weights, score, published.seconds, published.peak_bytes, published.versions)


class _Datasets:
    """The data of the tasks that were asked for last.

    A suite checks the data of all tasks before the first model is made: they are there when its turn has come.
    """

    most: Final = 32

    def __init__(self) -> None:
        self._made: OrderedDict[TrainedTask, Dataset] = OrderedDict()

    def of(self, task: TrainedTask) -> Dataset:
        """Data of a task, made on first use."""
        if task not in self._made:
            self.keep(task, _made(task))
        self._made.move_to_end(task)
        return self._made[task]

    def keep(self, task: TrainedTask, data: Dataset) -> None:
        """Keep data; the oldest ones make room."""
        self._made[task] = data
        while len(self._made) > self.most:
            self._made.popitem(last=False)


_DATASETS: Final = _Datasets()


def _made(task: TrainedTask) -> Dataset:
    """Data of a task, checked."""
    # data that are drawn from a global generator all the same do not depend on what ran before
    with same_randomness():
        seed_generators(seed_from("dataset", task.name))
        data = task.dataset()
    # with a context, targets are produced tokens, and some tokens, such as padding, are never a target
    if not data.train.targets.is_floating_point() and not data.train.context:
        _check_classes(task, data)
    return data


def _check_classes(task: TrainedTask, data: Dataset) -> None:
    """Check that every class occurs among the training targets.

    Raises:
        DataError: a class does not occur.
    """
    classes = data.train.targets
    if classes.dim() > 1:
        classes = classes[data.train.valid]
    count = max(len(data.names.outputs), int(classes.max()) + 1, int(data.test.targets.max()) + 1)
    missing = sorted(set(range(count)) - set(classes.unique().tolist()))
    if missing:
        names = data.names.outputs
        label = f"{missing[0]} ({names[missing[0]]})" if missing[0] < len(names) else str(missing[0])
        raise DataError(
            f"Task {task.spec!r} has no training sequence of class {label}: add some, or leave the class out."
        )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "safetensors": safetensors.__version__,
    }
