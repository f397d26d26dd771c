"""How far a command is that runs for long: a line on the standard error that is drawn anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from myqueue.cli.output import CLEAR_LINE, duration_of, size_of

WIDTH = 30
"""Of the bar, in characters."""
PAUSE_S = 0.1
"""Between two drawings."""


@contextmanager
def progress_bar(
    *,
    quiet: bool,
    total: int | None = None,
    in_bytes: bool = False,
    noun: str = "messages",
) -> Iterator[Callable[..., object]]:
    """Draw how far it is on the standard error while the block runs.

    Nothing is drawn where that is no terminal.

    Args:
        quiet: draw nothing anywhere.
        total: what `completed` will be in the end; None where that is not known.
        in_bytes: `completed` counts bytes, not messages.
        noun: what is counted.

    Yields:
        A function that takes `messages`, `completed` and `total` by name and draws anew.
    """
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    bar = _Bar(total, in_bytes, noun, time.monotonic())
    try:
        yield bar.show
    finally:
        sys.stderr.write(CLEAR_LINE)
        sys.stderr.flush()


@dataclass
class _Bar:
    total: int | None
    in_bytes: bool
    noun: str
    begun_s: float
    drawn_s: float = 0.0

    def show(self, *, messages: int, completed: int, total: int | None = None) -> None:
        self.total = self.total if total is None else total
        now_s = time.monotonic()
        if now_s - self.drawn_s < PAUSE_S:
            return
        self.drawn_s = now_s
        sys.stderr.write(f"{CLEAR_LINE}{self.line(messages, completed, now_s - self.begun_s)}")
        sys.stderr.flush()

    def line(self, messages: int, completed: int, seconds: float) -> str:
        """Return the text that is drawn."""
        words = [f"{messages:,} {self.noun}"]
        unit = size_of if self.in_bytes else "{:,}".format
        if self.total:
            full = min(1.0, completed / self.total)
            bar = ("=" * round(full * WIDTH)).ljust(WIDTH)
            words.append(f"[{bar}] {unit(completed)}/{unit(self.total)}")
        elif self.in_bytes:
            words.append(unit(completed))
        return "  ".join([*words, duration_of(seconds)])


def _ignore(**_changes: int | None) -> None:
    """Draw nothing."""
