"""Command line: plant every fault, or those that are named, and say which are found."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutants.catalogue import MUTANTS
from tests.mutants.display import shown, write
from tests.mutants.examination import Verdict, examine
from tests.mutants.table import table_of
from tests.mutants.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", metavar="NAME,NAME", default="", help="these faults alone")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--table", action="store_true", help="write the documentation's table")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    options = parser.parse_args(arguments)
    names = {mutant.name for mutant in MUTANTS}
    for name in filter(None, options.only.split(",")):
        if name not in names:
            parser.error(f"there is no fault called {name}; --list names them")
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def main(arguments: Sequence[str], *, root: Path = ROOT) -> int:
    """Return the exit status: 0 when every fault was found, else 1."""
    options = parse_arguments(arguments)
    wanted = set(filter(None, options.only.split(",")))
    mutants = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    if options.table:
        write(table_of(mutants))
        return 0
    if options.list:
        for mutant in mutants:
            write(f"{mutant.name:36} {mutant.fault}")
        return 0
    return _examine(mutants, jobs=min(options.jobs, len(mutants)), root=root)


def _examine(mutants: Sequence[Mutant], *, jobs: int, root: Path) -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [Tree.copy(root, Path(folder) / str(number)) for number in range(jobs)]
        results = shown(examine(mutants, trees), len(mutants))
        verdicts = Counter(result.verdict for result in results)
    write(
        ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        + f" of {len(mutants)} faults in {time.monotonic() - started:.0f} s"
    )
    return 0 if verdicts[Verdict.FOUND] == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
