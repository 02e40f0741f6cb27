"""However a command ends, it ends in a sentence: after any error, any signal, with streams that cannot be written."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from xrnnbench.errors import DataError, UsageError
from xrnnbench.harness import cli, outer_net

from .conftest import PATIENCE, SMALL, command, ending, spec, suite_text

EVIL = "\x1b[31mred\x07\n\ud800" + "x" * 100_000


class Evil(Exception):  # noqa: N818  # its own name is part of the try
    def __str__(self):
        raise RuntimeError("no")


class Quits(Exception):  # noqa: N818  # as above
    def __str__(self):
        raise SystemExit(0)


def circular():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


UNFORESEEN = {
    "RuntimeError": RuntimeError("boom"),
    "ValueError": ValueError(EVIL),
    "KeyError": KeyError("a"),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "MemoryError": MemoryError(),
    "EOFError": EOFError("the end"),
    "UnicodeEncodeError": UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"),
    "ImportError": ModuleNotFoundError("No module named 'numpy'"),
    "OSError": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "OSError of its own": OSError("odd"),
    "no room": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "folder/\x1bfile"),
    "gone": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"folder/file"),
    "not allowed": PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a", None, "b"),
    "not text": OSError(errno.EIO, 3, 4),
    "SystemExit": SystemExit(0),
    "SystemExit of text": SystemExit("bye"),
    "GeneratorExit": GeneratorExit(),
    "group": ExceptionGroup("some", [ExceptionGroup("more", [ValueError("first")]), KeyError("second")]),
    "evil": Evil(),
    "quits": Quits(),
    "circular": circular(),
}


@pytest.fixture
def raising(monkeypatch):
    """Return a function that makes the command list raise an error."""

    def put(error):
        def list_suites():
            raise error

        monkeypatch.setattr("xrnnbench.harness.explore.suite_facts.list_suites", list_suites)

    return put


def kept(err):
    """The file that an error message names, which is deleted when it has been read."""
    found = re.search(r"the traceback is in (\S+\.txt), ", err)
    if found is None:
        return ""
    path = Path(found[1])
    text = path.read_text("utf-8")
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    return text


@pytest.mark.parametrize("name", UNFORESEEN)
def test_an_error_that_nobody_foresaw_is_one_sentence(name, raising, invoke):
    raising(UNFORESEEN[name])
    status, _, err = invoke("list", "suites")
    assert (status, err.count("\n")) == (2, 1), err
    assert err.startswith("xrnnbench: ")
    assert err.endswith(".\n")
    assert err.strip().isprintable()
    assert len(err) < 1_500
    named = isinstance(UNFORESEEN[name], OSError) and UNFORESEEN[name].errno is not None
    assert bool(kept(err)) is not named


def test_the_file_has_the_traceback_and_the_command(raising, invoke):
    raising(RuntimeError("boom"))
    text = kept(invoke("list", "suites", "--json")[2])
    assert text.startswith("'xrnnbench' 'list' 'suites' '--json'\nPython 3.")
    assert "in list_suites" in text
    assert text.endswith("RuntimeError: boom\n")


@pytest.mark.parametrize("words", [("--traceback", "list", "suites"), ("list", "suites", "--traceback")])
def test_the_traceback_is_shown_where_it_is_asked_for(words, raising, invoke):
    raising(RuntimeError("boom"))
    status, _, err = invoke(*words)
    assert status == 2
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("RuntimeError: boom\nxrnnbench: an error came that nobody foresaw (RuntimeError: boom).\n")
    assert kept(err) == ""
    raising(UsageError("A name is wrong."))
    _, _, err = invoke(*words)
    assert err.startswith("Traceback")
    assert err.endswith("\nxrnnbench: A name is wrong.\n")


def test_the_option_is_no_part_of_what_is_stored_and_a_word_after_two_hyphens_is_no_option(invoke):
    assert invoke("--traceback", "list", "suites")[0] == 0
    assert sys.argv == ["xrnnbench", "list", "suites"]
    assert "no plug-in named '--traceback'" in invoke("show", "--", "--traceback")[2]


def test_a_traceback_that_cannot_be_kept(raising, invoke, monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    raising(RuntimeError("boom"))
    status, _, err = invoke("list", "suites")
    assert status == 2
    assert err == (
        "xrnnbench: an error came that nobody foresaw (RuntimeError: boom); its traceback cannot be kept (No space): "
        "--traceback shows it.\n"
    )


def test_a_very_long_sentence_is_cut_and_is_one_line(raising, invoke):
    raising(DataError(EVIL))
    status, _, err = invoke("list", "suites")
    assert (status, err.count("\n")) == (2, 1)
    assert len(err) < 3_100
    assert r"\x1b[31mred\x07 \ud800" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "Stopped.\n"),
        (KeyboardInterrupt("Stopped. 3 cells are stored."), "Stopped. 3 cells are stored.\n"),
    ],
)
def test_an_interruption_is_a_sentence_too(error, said, raising, invoke):
    raising(error)
    assert invoke("list", "suites") == (130, "", said)


def test_a_question_that_nobody_answers(raising, invoke):
    def aborted(way):
        error = typer.Abort()
        error.__context__ = way
        return error

    raising(aborted(EOFError()))
    assert invoke("list", "suites")[::2] == (2, "xrnnbench: There was no answer: add --yes.\n")
    raising(aborted(KeyboardInterrupt()))
    assert invoke("list", "suites")[0] == 130


def test_usage_errors_of_typer_and_help_are_as_they_were(invoke):
    for words in (["no-such"], ["list"], ["list", "--no-such"], ["list", "things"]):
        status, _, err = invoke(*words)
        assert status == 2
        assert "Usage:" in err
    status, out, err = invoke("--help")
    assert (status, err) == (0, "")
    assert "--traceback" in out


def test_what_is_imported_before_may_fail_too(tmp_path):
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')", "utf-8")
    done = command("list", "suites", PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert done.returncode == 2
    assert done.stderr.startswith("xrnnbench: the installation is not complete (ImportError: no typer here): install")
    assert "no typer here" in kept(done.stderr)


def test_a_folder_that_is_gone(tmp_path):
    program = (
        "import os, sys\nfrom xrnnbench.__main__ import main\nos.rmdir(os.getcwd())\n"
        "sys.argv = ['xrnnbench', 'list', 'suites']\nmain()"
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("xrnnbench: The current folder is gone")


def test_an_output_that_is_full_or_closed():
    for kind in ("methods", "suites"):  # more and less than the stream keeps back
        words = [sys.executable, "-m", "xrnnbench", "list", kind]
        full_or_closed(words)


def full_or_closed(words):
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "xrnnbench: The output cannot be written (No space left on device): send it to another place.\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_without_the_characters():
    done = command("show", "integrated-gradients", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    words = [sys.executable, "-m", "xrnnbench", "show", "integrated-gradients"]
    latin = {"env": {**os.environ, "PYTHONIOENCODING": "latin-1"}, "encoding": "latin-1", "capture_output": True}
    done = subprocess.run(words, check=True, **latin)
    assert "(x \\u2212 x" in done.stdout
    done = subprocess.run([*words, "--json"], check=True, **latin)
    assert "−" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def heed():
    """Heed the signals in a new process, whatever a shell or nohup has set."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def signalled(words, how, seconds):
    """Start a command, and send it a signal so many seconds after Python has started."""
    program = "import sys\nprint('begun', file=sys.stderr)\nfrom xrnnbench.__main__ import main\nmain()"
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    words = [sys.executable, "-c", program, *words]
    process = subprocess.Popen(words, preexec_fn=heed, **streams)  # noqa: PLW1509  # no threads here
    with ending(process):
        process.stderr.readline()
        time.sleep(seconds)
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_ends_any_command_in_the_same_way(how, tmp_path):
    plugin = tmp_path / "slow.py"
    plugin.write_text("import os, time\nopen('begun', 'w').close()\ntime.sleep(60)", "utf-8")
    program = (
        "import os, sys, threading, time\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "def strike():\n"
        "    while not os.path.exists('begun'):\n        time.sleep(0.01)\n"
        f"    os.kill(os.getpid(), {int(how)})\n"
        "threading.Thread(target=strike, daemon=True).start()\n"
        "sys.argv = ['xrnnbench', 'show', './slow.py:X']\n"
        "from xrnnbench.__main__ import main\nmain()"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, preexec_fn=heed, capture_output=True, text=True, check=False)  # no threads here
    assert (done.returncode, done.stderr) == (SIGNALS[how], "Stopped.\n")


@pytest.mark.full
@pytest.mark.parametrize("how", SIGNALS)
@pytest.mark.parametrize("seconds", [0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.5, 3.0, 4.0])
def test_a_signal_while_libraries_load(how, seconds, tmp_path):
    suite = tmp_path / "small.toml"
    suite.write_text(suite_text(), "utf-8")
    status, said = signalled(["run", str(suite), "--out", str(tmp_path / "r")], how, seconds)
    if status == 0:
        pytest.skip("the run was done before")
    assert status == SIGNALS[how]
    assert said.splitlines()[-1].startswith("Stopped.")
    assert "Traceback" not in said


@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_while_python_ends_leaves_the_status(how):
    program = (
        "import os, sys\n"
        "class Struck:\n"
        "    kill, process = os.kill, os.getpid()\n"
        f"    def __del__(self): Struck.kill(Struck.process, {int(how)})\n"
        "struck = Struck()\n"
        "sys.argv = ['xrnnbench', 'list', 'suites']\n"
        "from xrnnbench.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_handlers_of_before_are_there_again(invoke):
    before = [signal.getsignal(number) for number in SIGNALS]
    invoke("list", "suites")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_plugin_that_ends_the_program_when_it_is_imported(tmp_path, invoke):
    (tmp_path / "quits.py").write_text("import sys\nsys.exit(0)", "utf-8")
    status, _, err = invoke("show", f"{tmp_path / 'quits.py'}:X")
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot be imported (SystemExit: 0)" in err


@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_in_a_destructor_is_not_lost(how, invoke, monkeypatch):
    class Struck:
        def __del__(self):
            signal.raise_signal(how)

    def list_suites():
        Struck()
        time.sleep(30)
        return []

    monkeypatch.setattr("xrnnbench.harness.explore.suite_facts.list_suites", list_suites)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert invoke("list", "suites") == (SIGNALS[how], "", "Stopped.\n")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_sentence_for_every_errno():
    for number in errno.errorcode:
        said = outer_net.sentence_of(OSError(number, os.strerror(number), "file"))
        assert said.startswith("'file' cannot be read or written (")


def test_the_command_line_is_the_one_that_is_tested():
    assert callable(cli.application)
    assert spec("Chance").startswith(str(SMALL))
