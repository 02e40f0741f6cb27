"""Hand-written pages of documentation as what they print: files, Python, command lines, outputs, settings, drawings.

Run as a script, ``pages.py steps.json results.json``, it runs the Python and the command lines of one page in their
order, in one namespace and in the current folder.
"""

import contextlib
import io
import itertools
import json
import linecache
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "results/README.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]
# Libraries that not every environment of the tests has, and that take long to load.
OPTIONAL = {"keras"}
# The first word of a command line, and how this interpreter starts it.
PROGRAMS = {
    "xrnnbench": ["-m", "xrnnbench"],
    "pytest": ["-m", "pytest", "-p", "no:cacheprovider"],
    "pytest-benchmark": ["-c", "import sys; from pytest_benchmark.cli import main; sys.exit(main())"],
}
# Command lines that are only parsed, by how they begin.
PARSED = {
    "python3 -m venv": "installs",
    "tox": "installs, and runs the tests",
    "xrnnbench download": "downloads",
    "xrnnbench publish": "replaces published models",
    "xrnnbench merge": "merges runs that took minutes",
    "dask": "starts a server, which does not end",
    "openssl": "makes certificates, which a test of their own does",
}


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        page: path of the page from the root of the repository.
        line: number of its first line, from 1.
        language: what is written after the fence.
        text: what it holds.
        file: name of the file that it is, printed in the line before; empty if it is none.
    """

    page: str
    line: int
    language: str
    text: str
    file: str

    @property
    def kind(self):
        """What is to be done with the block."""
        if self.file:
            return "file"
        kinds = {"python": "python", "sh": "commands", "text": "output", "toml": "settings", "yaml": "settings"}
        if self.language == "python" and OPTIONAL & imported(self.text):
            return "optional"
        if not self.language and not re.search(rf"^({'|'.join(PROGRAMS)}|tox|pip|python3?) ", self.text, re.MULTILINE):
            return "drawing"
        if self.language not in kinds:
            raise AssertionError(f"{self.page}:{self.line}: a block of an unknown kind: say python, sh, text or toml.")
        return kinds[self.language]


def blocks(page):
    """Blocks of a page in their order."""
    text = (ROOT / page).read_text("utf-8")
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    result = []
    for match in found:
        before = text[: match.start()].rstrip().splitlines()
        file = re.search(r"`([\w./-]+\.\w+)`[^`]*:$", before[-1]) if before else None
        line = text[: match.start(3)].count("\n") + 1
        result.append(Block(page, line, match[2], match[3], file[1] if file else ""))
    return result


def imported(text):
    """Names of the packages that a program imports."""
    return {name.partition(".")[0] for name in re.findall(r"^(?:import|from) (\S+)", text, re.MULTILINE)}


class Command(NamedTuple):
    """A command line of a page: its place, its text, and the exit status that the page gives it."""

    page: str
    line: int
    text: str
    status: int

    @property
    def words(self):
        """Words of the last command of the line, whose first is the name of a program."""
        program, *words = shlex.split(self.text.rpartition("&& ")[2])
        return [Path(program).name, *words]

    @property
    def only_parsed(self):
        """Reason why the command is not run; empty if it is."""
        for beginning, reason in PARSED.items():
            if self.text.startswith(beginning):
                return reason
        narrowed = {"-t", "-m", "-x"} <= set(self.words) or ".toml" in self.text
        return "takes minutes" if self.text.startswith("xrnnbench run") and not narrowed else ""


def commands(block):
    """Command lines of a block."""
    found = []
    for match in re.finditer(r"^(?:.*\\\n)*.*", block.text, re.MULTILINE):
        text, _, comment = re.sub(r"\\\n *", "", match[0]).partition(" # ")
        status = re.fullmatch(r" *exit status (\d)", comment)
        line = block.line + block.text[: match.start()].count("\n")
        if text.strip():
            found.append(Command(block.page, line, text.strip(), int(status[1]) if status else 0))
    return found


def command_lines_in_sentences(page):
    """Command lines of xrnnbench in the text of a page; what may be left out is there, and a choice is made of each."""
    text = re.sub(r"^( *)```.*?^\1```$", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = []
    for written in re.findall(r"`(xrnnbench [a-z][^`]*)`", text):
        plain = re.sub(r"[\[\]…]", "", " ".join(written.split()))
        choices = [word.split("\\|") for word in plain.split(" ")]
        found += [Command(page, 0, " ".join(words), 0) for words in itertools.product(*choices)]
    return found


def agrees(printed, output):
    """Whether an output has what a page prints of it.

    White space does not matter, … stands for anything, numbers with a fraction may differ by 0.05 and 5 %, and whole
    percentages by 5.
    """
    parts = [part.split() for part in printed.split("…")]
    words, place = output.split(), 0
    for part in filter(None, parts):
        starts = range(place, len(words) - len(part) + 1)
        place = next((at + len(part) for at in starts if all(map(same, part, words[at : at + len(part)]))), None)
        if place is None:
            return False
    return True


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?%?")


def same(printed, word):
    """Whether a word of an output is the printed one."""
    if _NUMBER.sub("#", printed) != _NUMBER.sub("#", word):
        return False
    return all(map(near, _NUMBER.findall(printed), _NUMBER.findall(word)))


def near(printed, number):
    """Whether a number of an output is the printed one."""
    if "%" in printed:
        return abs(float(printed[:-1]) - float(number.removesuffix("%"))) <= 5
    if not {".", "e"} & set(printed + number):
        return printed == number
    return abs(float(printed) - float(number)) <= 0.05 + 0.05 * abs(float(printed))


class Shell:
    """Process in which the package is loaded once, and each command line of it is run by a child.

    To load it takes longer than most commands. The process is started before any snippet is run, and knows none of
    their plug-ins.
    """

    def __init__(self):
        self.fork = multiprocessing.get_context("fork")
        self.pipe, end = self.fork.Pipe()
        self.process = self.fork.Process(target=self._serve, args=(end,))
        self.process.start()

    def run(self, words):
        """Run a command line; its exit status and its output."""
        program, *arguments = words
        if program != "xrnnbench":
            command = [sys.executable, *PROGRAMS[program], *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr
        with tempfile.NamedTemporaryFile() as file:
            self.pipe.send((arguments, file.name))
            return self.pipe.recv(), Path(file.name).read_text("utf-8")

    def close(self):
        """End the process."""
        self.pipe.send(None)
        self.process.join()

    def _serve(self, pipe):
        import captum.attr  # noqa: F401, PLC0415  # in this process alone
        import pandas as pd  # noqa: F401, PLC0415

        import xrnnbench  # noqa: PLC0415

        for kind in ("task", "method", "metric", "intervention"):
            xrnnbench.names(kind)
        while (request := pipe.recv()) is not None:
            process = self.fork.Process(target=_main, args=request)
            process.start()
            process.join()
            pipe.send(process.exitcode)


def _main(words, file):
    """Be the command line, with the output in a file."""
    from xrnnbench.harness.cli import main  # noqa: PLC0415  # in this process alone

    for stream in (1, 2):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
    sys.argv = ["xrnnbench", *words]
    main()


def run_page(steps):
    """Yield the result of each step of a page, up to the first that fails."""
    shell = Shell() if any(step["kind"] == "command" for step in steps) else None
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.path.insert(0, "")  # a reader's session is in the folder with their files
    for step in steps:
        start = time.perf_counter()
        result = _command(step, shell) if step["kind"] == "command" else _python(step, module)
        yield result | {"seconds": time.perf_counter() - start}
        if result["failed"]:
            break
    if shell is not None:
        shell.close()


def _python(step, module):
    """Run one block of Python."""
    place = f"{step['page']}:{step['line']}"
    linecache.cache[place] = (len(step["text"]), None, step["text"].splitlines(keepends=True), place)
    output, failed = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(step["text"], place, "exec"), module.__dict__)  # noqa: S102  # to run them is what this is for
    except BaseException:  # noqa: BLE001  # whatever a snippet raises
        failed = traceback.format_exc()
    return step | {"output": output.getvalue(), "failed": failed}


def _command(step, shell):
    """Run one command line."""
    status, output = shell.run(shlex.split(step["text"]))
    failed = "" if status == step["status"] else f"exit status {status}\n{output}"
    return step | {"output": output, "failed": failed}


def steps_of(page):
    """What is run of a page, in its order, for :func:`run_page`."""
    steps = []
    for block in blocks(page):
        if block.kind == "python":
            steps.append({"kind": "python", "page": page, "line": block.line, "text": block.text})
        if block.kind == "commands":
            steps += [
                {"kind": "command", "page": page, "line": each.line, "text": each.text, "status": each.status}
                for each in commands(block)
                if not each.only_parsed
            ]
    return steps


if __name__ == "__main__":
    found = list(run_page(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
    Path(sys.argv[2]).write_text(json.dumps(found), "utf-8")
