"""Topic classification on AG News."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import ClassVar

from ....plugins import register
from ...downloads.locate import find, located
from ...models.training import Recipe
from ...readers import ag_news
from .classification import TextTask
from .vocabulary import Text, words


@register
@dataclass(frozen=True)
class News(TextTask):
    """Topic classification of news into four topics: the world, sports, business, or science and technology.

    There are 120,000 training texts and 7,600 test texts, each a title and a lead, with equally many of each topic.
    HTML entities (``&lt;``, and ``#39;`` without its ``&``) are decoded, and a backslash is read as a space.

    The model is an embedding and a bidirectional GRU with additive attention.

    Truth: not known.

    Source: Zhang, Zhao & LeCun 2015, from the corpus of A. Gulli.
    """

    name: ClassVar[str] = "ag-news"
    application: ClassVar[str] = "topic classification"
    source: ClassVar[str] = "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html"
    licence: ClassVar[str] = "for research and other non-commercial purposes, says its read-me"
    citation: ClassVar[str] = (
        "X. Zhang, J. Zhao, Y. LeCun: Character-level Convolutional Networks for Text Classification. NIPS 2015, "
        "649–657"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("ag-news",)
    recipe: ClassVar[Recipe] = Recipe(epochs=1, learning_rate=5e-3, batch_size=64, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = ("world", "sports", "business", "science and technology")
    gate: ClassVar[float] = 0.85

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (_texts(ag_news.read(find(folder, name))) for name in ("train.csv", "test.csv"))
        return train, test


def _texts(articles: list[ag_news.Article]) -> list[Text]:
    """The articles in tokens, with their topic."""
    return [Text(words(unescaped(f"{article.title} {article.description}")), article.label - 1) for article in articles]


def unescaped(text: str) -> str:
    r"""A text with HTML entities decoded, also those without their "&", and with backslashes (line ends) as spaces.

    >>> unescaped(r"Turner   Newall #39;s\profit &lt;b&gt;rose&lt;/b&gt;")
    "Turner   Newall's profit <b>rose</b>"
    """
    return html.unescape(text.replace(" #39;", "'").replace("#36;", "$").replace("\\", " "))
