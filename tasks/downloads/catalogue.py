"""Catalogue of the downloadable data sets: URLs, sizes, checksums, licences and citations.

This module reads and fetches nothing. An unknown size or checksum is ``None``. A checksum that is unknown here is
recorded at the first download, and later downloads are verified against the record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal

from ...errors import UnknownNameError
from ...plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class File:
    """One file of a data set, as its publisher serves it.

    Attributes:
        url: URL of the file.
        name: file name; its ending tells whether it is an archive.
        size: size in bytes; None if unknown.
        checksum: ``sha256:…`` or ``md5:…``; None if none is published.
    """

    url: str
    name: str
    size: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Source:
    """A downloadable data set.

    Attributes:
        name: name of the set: ``"sst-trees"``, ``"ucr:ECG200"``.
        about: description in one line.
        files: all files of the set, as published.
        licence: terms of use, or a note that none are stated.
        citation: the publication to cite.
        page: web page of the publisher that describes the set.
    """

    name: str
    about: str
    files: tuple[File, ...]
    licence: str
    citation: str
    page: str

    @property
    def folder(self) -> str:
        """Name of the set's folder: the set's name with ``-`` for ``:``, which some systems forbid in file names."""
        return folder_name(self.name)

    @property
    def size(self) -> int | None:
        """Total size of the files in bytes; None if the size of any file is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def extent(self) -> str:
        """Total size as text: ``"789.5 kB"``, ``"at least 3.2 MB"``, ``"size unknown"``."""
        known = sum(file.size for file in self.files if file.size is not None)
        if not known:
            return "size unknown"
        return decimal(known) if self.size is not None else f"at least {decimal(known)}"


def folder_name(name: str) -> str:
    """Folder name of the data set with a given name.

    >>> folder_name("ucr:ECG200")
    'ucr-ECG200'
    """
    return name.replace(":", "-")


def source(name: str) -> Source:
    """Look up a data set by name: a key of :data:`SOURCES` or :data:`ALIASES`, ``ucr:NAME`` or ``uea:NAME``.

    Raises:
        UnknownNameError: no data set has this name.
    """
    name = ALIASES.get(name, name)
    if (data_set := SOURCES.get(name)) is not None:
        return data_set
    archive, _, member = name.partition(":")
    if archive in ARCHIVES and _MEMBER.fullmatch(member):
        return ARCHIVES[archive](member)
    known = sorted((*SOURCES, *ALIASES))
    raise UnknownNameError(
        f"There is no data set named {name!r}{nearest(name, known)}; 'xrnnbench download' lists all, and "
        "ucr:NAME and uea:NAME are those of the UCR and UEA archives."
    )


# Names of archive members become part of a path and of a URL, so only letters, digits, _ and - are allowed.
_MEMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_PHYSIONET: Final = "https://physionet.org/files/challenge-2012/1.0.0/"
_MULTI30K: Final = "https://raw.githubusercontent.com/neychev/small_DL_repo/master/datasets/Multi30k/"
_AG_NEWS: Final = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
_ETT: Final = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"

_SST_CITATION: Final = (
    "R. Socher, A. Perelygin, J. Wu, J. Chuang, C. D. Manning, A. Ng, C. Potts: Recursive Deep Models for Semantic "
    "Compositionality Over a Sentiment Treebank. EMNLP 2013, 1631–1642"
)
_UCR_LICENCE: Final = "none stated: free for research, to be cited; single sets may have terms of their own"


def _in_folder(folder: str, *files: tuple[str, int | None, str]) -> tuple[File, ...]:
    """Files in one folder of a server, from (name, size, checksum)."""
    return tuple(File(folder + name, name, size, checksum) for name, size, checksum in files)


def _ucr(member: str) -> Source:
    """Data set of the UCR archive."""
    return Source(
        name=f"ucr:{member}",
        about=f"{member} of the UCR archive: labelled series of one channel, training and test set",
        files=(File(f"https://timeseriesclassification.com/aeon-toolkit/{member}.zip", f"{member}.zip"),),
        licence=_UCR_LICENCE,
        citation=(
            "H. A. Dau, A. Bagnall, K. Kamgar, C.-C. M. Yeh, Y. Zhu, S. Gharghabi, C. A. Ratanamahatana, E. Keogh: The "
            "UCR Time Series Archive. IEEE/CAA Journal of Automatica Sinica 6 (6), 1293–1305, 2019. "
            "doi:10.1109/JAS.2019.1911747"
        ),
        page=f"https://timeseriesclassification.com/description.php?Dataset={member}",
    )


def _uea(member: str) -> Source:
    """Data set of the UEA archive."""
    return Source(
        name=f"uea:{member}",
        about=f"{member} of the UEA archive: labelled series of several channels, training and test set",
        files=(File(f"https://timeseriesclassification.com/aeon-toolkit/{member}.zip", f"{member}.zip"),),
        licence=_UCR_LICENCE,
        citation=(
            "A. Bagnall, H. A. Dau, J. Lines, M. Flynn, J. Large, A. Bostrom, P. Southam, E. Keogh: The UEA "
            "multivariate time series classification archive, 2018. arXiv:1811.00075"
        ),
        page=f"https://timeseriesclassification.com/description.php?Dataset={member}",
    )


# Constructors for archives of many data sets, by the part of a name before its colon.
ARCHIVES: Final[dict[str, Callable[[str], Source]]] = {"ucr": _ucr, "uea": _uea}

# Alternative names of data sets.
ALIASES: Final[dict[str, str]] = {"ecg200": "ucr:ECG200", "ecg5000": "ucr:ECG5000", "etth1": "ett", "etth2": "ett"}

_ALL: Final = (
    Source(
        name="sst2",
        about="sentences of film reviews, positive or negative, as GLUE splits them",
        files=(
            File(
                "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
                "SST-2.zip",
                7_439_277,
                "sha256:d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
            ),
        ),
        licence="none stated: research use; the sentences are from Rotten Tomatoes",
        citation=f"{_SST_CITATION}; split: A. Wang et al.: GLUE. ICLR 2019",
        page="https://gluebenchmark.com/tasks",
    ),
    Source(
        name="sst-trees",
        about="sentences of film reviews as trees, every phrase rated by people from 0 to 4",
        files=(
            File(
                "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
                "trainDevTestTrees_PTB.zip",
                789_539,
                "sha256:5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
            ),
        ),
        licence="none stated: research use; the sentences are from Rotten Tomatoes",
        citation=_SST_CITATION,
        page="https://nlp.stanford.edu/sentiment/",
    ),
    Source(
        name="imdb",
        about="50,000 film reviews, positive or negative",
        files=(
            File(
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                "aclImdb_v1.tar.gz",
                84_125_825,
                "sha256:c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            ),
        ),
        licence="none stated: research use; the reviews are by users of IMDb",
        citation=(
            "A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts: Learning Word Vectors for Sentiment "
            "Analysis. ACL 2011, 142–150"
        ),
        page="https://ai.stanford.edu/~amaas/data/sentiment/",
    ),
    Source(
        name="eraser-movies",
        about="2,000 film reviews, positive or negative, with the passages people gave as reasons",
        files=(
            File(
                "http://www.eraserbenchmark.com/zipped/movies.tar.gz",
                "movies.tar.gz",
                3_899_487,
                "sha256:66e18d4e6c9df9e9f5544572b0bfe92a39673f74ecbfc3859b46cedb2f5b2dee",
            ),
        ),
        licence="none stated for the data: research use, not to be passed on",
        citation=(
            "J. DeYoung, S. Jain, N. F. Rajani, E. Lehman, C. Xiong, R. Socher, B. C. Wallace: ERASER: A Benchmark to "
            "Evaluate Rationalized NLP Models. ACL 2020, 4443–4458; rationales: O. Zaidan, J. Eisner, C. Piatko: Using "
            "“Annotator Rationales” to Improve Machine Learning for Text Categorization. NAACL 2007, 260–267"
        ),
        page="https://www.eraserbenchmark.com/",
    ),
    Source(
        name="ag-news",
        about="titles and leads of news in four topics: 120,000 to learn from, 7,600 held out",
        files=_in_folder(
            _AG_NEWS,
            ("train.csv", 29_470_338, "md5:b1a00f826fdfbd249f79597b59e1dc12"),
            ("test.csv", 1_857_427, "md5:d52ea96a97a2d943681189a97654912d"),
        ),
        licence="for research and other non-commercial purposes, says its read-me",
        citation=(
            "X. Zhang, J. Zhao, Y. LeCun: Character-level Convolutional Networks for Text Classification. NIPS 2015, "
            "649–657; corpus: A. Gulli, AG's corpus of news articles"
        ),
        page="http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
    ),
    Source(
        name="trec",
        about="questions by the kind of answer they ask for: 5,452 to learn from, 500 held out",
        files=_in_folder(
            "http://cogcomp.org/Data/QA/QC/",
            (
                "train_5500.label",
                335_858,
                "sha256:9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
            ),
            ("TREC_10.label", 23_354, "sha256:033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e"),
        ),
        licence="none stated: research use",
        citation="X. Li, D. Roth: Learning Question Classifiers. COLING 2002",
        page="https://cogcomp.seas.upenn.edu/Data/QA/QC/",
    ),
    Source(
        name="multi30k",
        about="descriptions of pictures in English and German: 29,000 pairs, 1,014 and 1,000 held out",
        files=_in_folder(
            _MULTI30K,
            (
                "training.tar.gz",
                1_207_136,
                "sha256:20140d013d05dd9a72dfde46478663ba05737ce983f478f960c1123c6671be5e",
            ),
            (
                "validation.tar.gz",
                46_329,
                "sha256:a7aa20e9ebd5ba5adce7909498b94410996040857154dab029851af3a866da8c",
            ),
            (
                "mmt16_task1_test.tar.gz",
                67_079,
                "sha256:6d1ca1dba99e2c5dd54cae1226ff11c2551e6ce63527ebb072a1f70f72a5cd36",
            ),
        ),
        licence="none stated; the descriptions are from Flickr30k: non-commercial research and education",
        citation=(
            "D. Elliott, S. Frank, K. Sima'an, L. Specia: Multi30K: Multilingual English-German Image Descriptions. "
            "Workshop on Vision and Language 2016, 70–74. doi:10.18653/v1/W16-3210"
        ),
        page="https://github.com/multi30k/dataset",
    ),
    Source(
        name="speech-commands",
        about="105,829 recordings of one of 35 spoken words, a second each (version 2)",
        files=(
            File(
                "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
                "speech_commands_v0.02.tar.gz",
                2_428_923_189,
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            ),
        ),
        licence="CC BY 4.0",
        citation=(
            "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018. arXiv:1804.03209"
        ),
        page="https://www.tensorflow.org/datasets/catalog/speech_commands",
    ),
    Source(
        name="fsdd",
        about="recordings of spoken digits, by several speakers (release 1.0.9)",
        files=(
            File(
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
                "v1.0.9.tar.gz",
                11_975_353,
                "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
            ),
        ),
        licence="CC BY-SA 4.0",
        citation="Z. Jackson et al.: Free Spoken Digit Dataset, version 1.0.9",
        page="https://github.com/Jakobovski/free-spoken-digit-dataset",
    ),
    Source(
        name="physionet2012",
        about="48 hours each of 12,000 stays in intensive care, and whether the patient died in hospital",
        files=_in_folder(
            _PHYSIONET,
            ("set-a.tar.gz", 6_632_372, "sha256:8cb250f179cd0952b4b9ebcf8954b63d70383131670fac1cfee13deaa13ca920"),
            ("set-b.tar.gz", 6_652_690, "sha256:b1637a2a423a8e76f8f087896cfc5fdf28f88519e1f4e874fbda69b2a64dac30"),
            ("set-c.tar.gz", 6_600_293, "sha256:a4a56b95bcee4d50a3874fe298bf2998f2ed0dd98a676579573dc10419329ee1"),
            ("Outcomes-a.txt", 79_219, "sha256:2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2"),
            ("Outcomes-b.txt", 79_149, "sha256:1305f29734da374a809483229a99f33a9230aa8d4fa74b1a2d6ad788136423d5"),
            ("Outcomes-c.txt", 79_191, "sha256:0b32dcb7753c0f18f2f5fde498a28618b8879c5e527ce0dae8ad120dd7e205c9"),
        ),
        licence="Open Data Commons Attribution 1.0",
        citation=(
            "I. Silva, G. Moody, D. J. Scott, L. A. Celi, R. G. Mark: Predicting In-Hospital Mortality of ICU "
            "Patients: The PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 245–248, 2012"
        ),
        page="https://physionet.org/content/challenge-2012/1.0.0/",
    ),
    _ucr("ECG200"),
    _ucr("ECG5000"),
    Source(
        name="jena-climate",
        about="the weather at Jena every 10 minutes from 2009 to 2016, 14 quantities",
        files=(
            File(
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/jena_climate_2009_2016.csv.zip",
                "jena_climate_2009_2016.csv.zip",
                13_568_290,
            ),
        ),
        licence="none stated: published by the Max Planck Institute for Biogeochemistry",
        citation="Max Planck Institute for Biogeochemistry, Jena: weather station Beutenberg, 2009–2016",
        page="https://www.bgc-jena.mpg.de/wetter/",
    ),
    Source(
        name="ett",
        about="load and oil temperature of two electricity transformers every hour for two years",
        files=_in_folder(
            _ETT,
            ("ETTh1.csv", None, "sha256:f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"),
            ("ETTh2.csv", None, "sha256:a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b"),
        ),
        licence="CC BY-ND 4.0",
        citation=(
            "H. Zhou, S. Zhang, J. Peng, S. Zhang, J. Li, H. Xiong, W. Zhang: Informer: Beyond Efficient Transformer "
            "for Long Sequence Time-Series Forecasting. AAAI 2021, 11106–11115"
        ),
        page="https://github.com/zhouhaoyi/ETDataset",
    ),
    Source(
        name="beijing-pm25",
        about="fine dust and weather in Beijing every hour from 2010 to 2014",
        files=(File("https://archive.ics.uci.edu/static/public/381/beijing+pm2+5+data.zip", "beijing+pm2+5+data.zip"),),
        licence="CC BY 4.0",
        citation=(
            "X. Liang, T. Zou, B. Guo, S. Li, H. Zhang, S. Zhang, H. Huang, S. X. Chen: Assessing Beijing's PM2.5 "
            "pollution: severity, weather impact, APEC and winter heating. Proceedings of the Royal Society A 471, "
            "20150257, 2015. doi:10.1098/rspa.2015.0257"
        ),
        page="https://archive.ics.uci.edu/dataset/381/beijing+pm2+5+data",
    ),
)

# Data sets by name. Other sets of the UCR and UEA archives are constructed from their names by :func:`source`.
SOURCES: Final[dict[str, Source]] = {data_set.name: data_set for data_set in _ALL}
