"""Runs a soak: `python -m tests.soak --minutes 60`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.soak.plot import draw
from tests.soak.soak import run


def tell(text: str) -> None:
    """Write a text to standard output at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run, write `soak.svg` and `soak.json`, and return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--out", type=Path, default=Path("docs/images"), help="folder of soak.svg and soak.json"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        outcome = run(Path(directory), seconds=chosen.minutes * 60, tell=tell)
    figures = outcome.figures()
    title = (
        f"{chosen.minutes:g} minutes, {sum(outcome.acknowledged.values()):,} messages acknowledged"
    )
    draw(outcome.samples, outcome.events, chosen.out / "soak.svg", title)
    (chosen.out / "soak.json").write_text(json.dumps(figures, indent=2) + "\n")
    tell(json.dumps(figures, indent=2))
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
