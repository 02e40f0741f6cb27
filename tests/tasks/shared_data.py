"""Genuine copies of outside data, laid out as their original archives are.

They lie beside the repository, in ``../shared/data``, and are never copied into it; where they are absent, the test
that asks for them is skipped. ``laid("sst-trees", folder)`` gives ``folder/sst-trees`` as
:func:`xrnnbench.tasks.downloads.locate.located` would, so that ``XRNNBENCH_DATA=folder`` finds the set; measuring
scripts can use it too. What is unlike the original, where the copy holds less or more, is said beside each set.
"""

import tarfile
import zipfile
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

# Of each set: where a file of the copy lies in the original's layout. An archive is unpacked into the folder named.
FILES = {
    "sst-trees": {f"sst_trees/{split}.txt": f"trees/{split}.txt" for split in ("train", "dev", "test")},
    "eraser-movies": {
        "eraser_movies/docs.tar.gz": "movies",
        **{f"eraser_movies/{split}.jsonl": f"movies/{split}.jsonl" for split in ("train", "val", "test")},
    },
    # only the test set is there
    "ag-news": {"topics/ag_news_test.csv": "test.csv"},
    "trec": {"topics/TREC.train": "train_5500.label", "topics/TREC.test": "TREC_10.label"},
    "multi30k": {f"multi30k_ende/{part}.tar.gz": "" for part in ("training", "validation", "mmt16_task1_test")},
    # 3,000 recordings; the release 1.0.9 has fewer
    "fsdd": {"fsdd/recordings.tar.gz": "free-spoken-digit-dataset-1.0.9"},
    # only set a is there
    "physionet2012": {"physionet2012/set-a.tar.gz": "", "physionet2012/Outcomes-a.txt": "Outcomes-a.txt"},
    "ucr:ECG200": {f"ucr_ecg/ECG200_{split}.txt": f"ECG200_{split}.txt" for split in ("TRAIN", "TEST")},
    # only the training set is there
    "ucr:ECG5000": {"ucr_ecg/ECG5000_TRAIN.ts": "ECG5000_TRAIN.ts"},
}
SETS = tuple(FILES)


def laid(set_name, folder, many=None):
    """Lay a set out and return its folder, ``folder/<set>`` with ``-`` for ``:``; a second call finds it there.

    ``many`` leaves out all but so many of the members of each archive.
    """
    target = Path(folder) / set_name.replace(":", "-")
    if target.is_dir():
        return target
    for name, place in FILES[set_name].items():
        copy = original(name)
        if copy.name.endswith(".tar.gz"):
            _unpack(copy, target / place, many)
        else:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            (target / place).symlink_to(copy)
    return target


def original(name):
    """A file of the copies, by its path in them; skips the test where it is not there."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared copy of {name} is not beside the repository")
    return path


def _unpack(archive, folder, many):
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as file:
        # what a Macintosh adds is not data
        members = [each for each in file if not Path(each.name).name.startswith("._")]
        file.extractall(folder, members=members[:many], filter="data")


def archived(set_name, folder, many=None):
    """Pack a set as its publisher does, for a server or a data folder: the files of its source by their names.

    What is published as it is, is the copy itself. What is packed here has another checksum than the original.
    """
    content = laid(set_name, Path(folder) / "content", many)
    packed = Path(folder) / "packed" / content.name
    packed.mkdir(parents=True, exist_ok=True)
    if set_name == "multi30k":
        return {Path(name).name: original(name) for name in FILES[set_name]}
    if set_name in PACKED:
        name, members = PACKED[set_name]
        path = packed / name
        if not path.exists():
            _pack(path, content, members)
        plain = {each.name: each for each in content.iterdir() if each.is_file() and each.name not in members}
        return {name: path} | plain
    return {path.name: path for path in content.iterdir()}


# What the archive of a set is called, and what of its folder is in it.
PACKED = {
    "sst-trees": ("trainDevTestTrees_PTB.zip", ("trees",)),
    "eraser-movies": ("movies.tar.gz", ("movies",)),
    "fsdd": ("v1.0.9.tar.gz", ("free-spoken-digit-dataset-1.0.9",)),
    "physionet2012": ("set-a.tar.gz", ("set-a",)),
    "ucr:ECG200": ("ECG200.zip", ("ECG200_TRAIN.txt", "ECG200_TEST.txt")),
    "ucr:ECG5000": ("ECG5000.zip", ("ECG5000_TRAIN.ts",)),
}


def _pack(path, content, members):
    files = sorted(each for name in members for each in (content / name, *(content / name).rglob("*")))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for each in files:
                archive.write(each, each.relative_to(content))
    else:
        with tarfile.open(path, "w:gz", compresslevel=1, dereference=True) as archive:
            for each in files:
                archive.add(each, each.relative_to(content), recursive=False)
