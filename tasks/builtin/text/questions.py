"""Question classification on TREC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ....plugins import register
from ...downloads.locate import find, located
from ...models.networks import Cell, Pooling
from ...models.training import Recipe
from ...readers import trec
from .classification import TextTask
from .vocabulary import Text, words

_NAMES = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "person",
    "LOC": "place",
    "NUM": "number",
}


@register
@dataclass(frozen=True)
class Questions(TextTask):
    """Question classification by answer type: abbreviation, description, entity, person, place or number.

    There are 5,452 training questions and 500 test questions, of 3 to 37 tokens, in the six coarse classes. Eleven
    training questions are also test questions and are left out. All letters are small.

    The model is an embedding and a bidirectional LSTM with max pooling.

    Truth: not known.

    Source: Li & Roth 2002, the data of the University of Illinois.
    """

    name: ClassVar[str] = "trec"
    application: ClassVar[str] = "topic classification"
    source: ClassVar[str] = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
    licence: ClassVar[str] = "none stated: research use"
    citation: ClassVar[str] = "X. Li, D. Roth: Learning Question Classifiers. COLING 2002. doi:10.3115/1072228.1072378"
    data_sets: ClassVar[tuple[str, ...]] = ("trec",)
    recipe: ClassVar[Recipe] = Recipe(epochs=10, learning_rate=5e-3, batch_size=64, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = tuple(_NAMES[name] for name in trec.COARSE)
    gate: ClassVar[float] = 0.83
    pooling: ClassVar[Pooling] = "max"
    dropout: ClassVar[float] = 0.5

    embedding: int = 64
    hidden: int = 64
    cell: Cell = field(default="lstm", kw_only=True)

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (_texts(trec.read(find(folder, name))) for name in ("train_5500.label", "TREC_10.label"))
        return train, test


def _texts(questions: list[trec.Question]) -> list[Text]:
    """The questions in tokens, with their coarse class."""
    return [Text(words(question.text), trec.COARSE.index(question.coarse)) for question in questions]
