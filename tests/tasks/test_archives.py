"""Archives are believed in nothing: whatever they hold, nothing is written outside the folder, and damage is said."""

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import DataError
from xrnnbench.tasks.downloads.unpacking import Bounds, is_archive, unpack

TEXT = b"one line\n" * 200


def tar_of(*members, mode="w:gz"):
    """Return a tar of (name, content or a changed TarInfo)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(*members, compression=zipfile.ZIP_DEFLATED):
    """Return a zip of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def zip_link(name, to):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zip_of((info, to))


def twice():
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zip_of(("a.txt", b"1"), ("a.txt", b"2"))


def encrypted():
    """Set the flag that says so; the content need not be."""
    content = bytearray(zip_of(("a.txt", TEXT)))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def damaged_zip():
    """Flip a bit of the content, so that its checksum is another."""
    content = bytearray(zip_of(("a.txt", TEXT), compression=zipfile.ZIP_STORED))
    content[60] ^= 1
    return bytes(content)


def damaged_tar():
    """Damage the header of the second member: tarfile alone would take that for the end."""
    content = bytearray(tar_of(("a.txt", b"1"), ("b.txt", b"2"), mode="w"))
    content[1024 + 148] ^= 0x7F
    return bytes(content)


def half_a_tar():
    """Cut between two members."""
    return tar_of(("a.txt", b"1"), ("b.txt", b"2"), mode="w")[:1024]


def great_header():
    """A header that says it is followed by a name of 32 MiB."""
    return tar_of(("a.txt", {"type": tarfile.GNUTYPE_LONGNAME, "size": 32 << 20}), mode="w")


def gz_of(content):
    return gzip.compress(content)


def lying_gz():
    """The checksum at the end is that of something else."""
    content = tar_of(("a.txt", TEXT))
    return content[:-8] + struct.pack("<II", 1, 1)


def bomb():
    """A hundred megabytes in a hundred kilobytes."""
    return zip_of(("zeros", bytes(100 << 20)))


def sparse():
    """A header that promises a terabyte."""
    return tar_of(("a.txt", {"size": 1 << 40}))


BAD = {
    "empty.zip": (zip_of, "it holds no files"),
    "empty.tar.gz": (tar_of, "it holds no files"),
    "nothing.zip": (lambda: b"", "it is empty"),
    "nothing.tar.gz": (lambda: b"", "it is empty"),
    "nothing.gz": (lambda: b"", "it is empty"),
    "page.zip": (lambda: b"<html>log in first</html>", "damaged or truncated"),
    "page.tar.gz": (lambda: b"<html>log in first</html>", "damaged or truncated"),
    "page.tar": (lambda: b"<html>log in first</html>" * 100, "damaged or truncated"),
    "cut.zip": (lambda: zip_of(("a.txt", TEXT))[:-30], "damaged or truncated"),
    "cut.tar.gz": (lambda: tar_of(("a.txt", TEXT))[:-20], "damaged or truncated"),
    "cut.gz": (lambda: gz_of(TEXT)[:-10], "damaged or truncated"),
    "half.tar": (half_a_tar, "it stops before its end"),
    "bit.zip": (damaged_zip, "damaged or truncated"),
    "bit.tar": (damaged_tar, "it stops before its end"),
    "sum.tar.gz": (lying_gz, "damaged or truncated"),
    "encrypted.zip": (encrypted, "it is encrypted"),
    "unusual.zip": (lambda: zip_of(("a.txt", TEXT), compression=zipfile.ZIP_BZIP2), "unusual way"),
    "absolute.zip": (lambda: zip_of(("/etc/a.txt", TEXT)), "would leave the folder"),
    "absolute.tar.gz": (lambda: tar_of(("/etc/a.txt", TEXT)), "would leave the folder"),
    "up.zip": (lambda: zip_of(("a/../../b.txt", TEXT)), "would leave the folder"),
    "up.tar.gz": (lambda: tar_of(("../b.txt", TEXT)), "would leave the folder"),
    "slash.zip": (lambda: zip_of(("..\\b.txt", TEXT)), "would leave the folder"),
    "drive.zip": (lambda: zip_of(("C:b.txt", TEXT)), "would leave the folder"),
    "link.zip": (lambda: zip_link("a", "/etc/passwd"), "is a link or a device"),
    "link.tar.gz": (lambda: tar_of(("a", {"type": tarfile.SYMTYPE, "linkname": "../.."})), "is a link or a device"),
    "hard.tar.gz": (lambda: tar_of(("a", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})), "link or a device"),
    "device.tar.gz": (lambda: tar_of(("a", {"type": tarfile.CHRTYPE, "devmajor": 1})), "is a link or a device"),
    "pipe.tar.gz": (lambda: tar_of(("a", {"type": tarfile.FIFOTYPE})), "is a link or a device"),
    "twice.zip": (twice, "is there twice"),
    "twice.tar.gz": (lambda: tar_of(("a.txt", TEXT), ("./a.txt", TEXT)), "is there twice"),
    "below.tar.gz": (lambda: tar_of(("a", TEXT), ("a/b", TEXT)), "is there twice"),
    "above.tar.gz": (lambda: tar_of(("a/b", TEXT), ("a", TEXT)), "is there twice"),
    "bomb.zip": (bomb, "unpacks to more than 67,108,864 bytes"),
    "bomb.gz": (lambda: gz_of(bytes(100 << 20)), "unpacks to more than 67,108,864 bytes"),
    "sparse.tar.gz": (sparse, "damaged or truncated"),
    "header.tar": (great_header, "a header of more than 16,777,216 bytes"),
    "only-notes.zip": (lambda: zip_of(("__MACOSX/._a", TEXT), ("._b", TEXT)), "it holds no files"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives_are_one_sentence(tmp_path, name):
    make, said = BAD[name]
    archive, folder = tmp_path / name, tmp_path / "in" / "it"
    archive.write_bytes(make())
    folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=said) as caught:
        unpack(archive, folder)
    assert str(caught.value).startswith(f"The archive {archive} cannot be unpacked: ")
    assert str(caught.value).count("\n") == 0
    assert [path for path in sorted(tmp_path.rglob("*")) if folder not in path.parents] == before


def test_too_many_members(tmp_path):
    (tmp_path / "many.zip").write_bytes(zip_of(*((f"{number}", b"") for number in range(11))))
    with pytest.raises(DataError, match="more than 10 members"):
        unpack(tmp_path / "many.zip", tmp_path, Bounds(0, members=10))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.zip", zip_of),
        ("a.tar.gz", tar_of),
        ("a.tgz", tar_of),
        ("a.tar", lambda *members: tar_of(*members, mode="w")),
    ],
)
def test_what_is_right_comes_out_as_it_went_in(tmp_path, name, make):
    members = {"./top.txt": b"", "a/deep/er.txt": TEXT, "a/ä ö.txt": b"\x00\xff" * 100_000, ".hidden": b"1"}
    more = {"a/._er.txt": b"resource fork", "__MACOSX/a/b": b"1"}
    (tmp_path / name).write_bytes(make(*(members | more).items()))
    (tmp_path / "out").mkdir()
    unpack(tmp_path / name, tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*")}
    files = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    assert files == {name.removeprefix("./"): content for name, content in members.items()}


def test_one_gz_is_one_file(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gz_of(TEXT))
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.csv.gz", tmp_path / "out")
    assert (tmp_path / "out" / "a.csv").read_bytes() == TEXT


def test_archives_are_told_by_their_names(tmp_path):
    assert [name for name in ("a.zip", "A.TAR.GZ", "a.csv", "a.label", "a.gz", "a.rar") if is_archive(name)] == [
        "a.zip",
        "A.TAR.GZ",
        "a.gz",
    ]
    with pytest.raises(DataError, match="is no archive"):
        unpack(tmp_path / "a.rar", tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(alphabet="ab./\\:C~ ", min_size=1, max_size=12), min_size=1, max_size=3),
    ending=st.sampled_from([".zip", ".tar.gz"]),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_leads_out_of_the_folder(tmp_path_factory, names, ending):
    root = tmp_path_factory.mktemp("root")
    folder = root / "one" / "two"
    folder.mkdir(parents=True)
    archive = root / f"archive{ending}"
    members = [(name, b"x") for name in names]
    archive.write_bytes(zip_of(*members) if ending == ".zip" else tar_of(*members))
    with contextlib.suppress(DataError):
        unpack(archive, folder)
    outside = {path for path in root.rglob("*") if folder not in path.parents}
    assert outside == {archive, root / "one", folder}
