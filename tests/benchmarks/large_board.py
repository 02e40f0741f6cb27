"""What the boards of a large run cost: ``python tests/benchmarks/large_board.py [TASKS METHODS METRICS]``.

Cells are made up, three models of each task, and everything else is done as for a real run: 84 tasks and 40 methods are
10,080 cells. Seconds of the processor, so that what else the machine does counts less.
"""

import importlib.util
import sys
import time
from pathlib import Path

from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.reports.render import render

_BOARDS = Path(__file__).parents[1] / "harness" / "page_boards.py"


def main(tasks=84, methods=40, metrics=10):
    """Write the seconds of computing a board, and of each of its files."""
    found = importlib.util.spec_from_file_location("page_boards", _BOARDS)
    boards = importlib.util.module_from_spec(found)
    found.loader.exec_module(boards)
    grid = boards.axes(
        ("random", *(f"method-{place}:samples={10 * place}" for place in range(methods - 1))),
        tuple(f"task-{place}" for place in range(tasks)),
        ("normalised-deletion", *(f"comprehensiveness-{place}:by=mean" for place in range(metrics - 1))),
    )
    cells = boards.made_cells(grid, seeds=3, size=16)
    start = begin = time.process_time()
    board = make_leaderboard("large", grid, cells, boards.PROVENANCE)
    sys.stdout.write(f"{len(cells)} cells, {metrics} metrics\nboard {time.process_time() - begin:.1f} s\n")
    gallery = boards.shown_beside(grid, board, cells)
    for ending in ("md", "csv", "json", "tex", "html"):
        begin = time.process_time()
        size = len(render(board, ending, gallery).encode())
        sys.stdout.write(f"{ending} {time.process_time() - begin:.1f} s, {size / 1e6:.1f} MB\n")
    sys.stdout.write(f"all {time.process_time() - start:.1f} s\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
