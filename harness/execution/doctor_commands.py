"""The command that examines the files of a run: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..explore.options import echo


def doctor(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as results/runs/quick, or an archive.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look: nothing is changed.")] = False,
) -> None:
    """Check every file of a run byte by byte, and mend what is certain.

    Cells that are damaged, edited or copied are moved into the folder damaged of the run, and the next run computes
    them again. Of a cell whose arrays do not match, the scores that match are kept. Files of earlier versions get their
    checksum, and the index is made anew.

    Exit status: 0 all is well, 1 something was found (and mended, unless with --dry-run), 2 there is no run, or a
    process works in the folder.
    """
    from .doctor import examine

    examination = examine(run, mend=not dry_run)
    for sentence in examination.findings:
        echo(sentence)
    for sentence in examination.notes:
        echo(f"Note: {sentence}")
    echo(examination.summary)
    if examination.findings:
        raise typer.Exit(1)
