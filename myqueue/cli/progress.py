"""The progress bar of commands that run for long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    *, quiet: bool, total: int | None = None, in_bytes: bool = False
) -> Iterator[Callable[..., object]]:
    """Draw a bar on the standard error while the block runs.

    Nothing is drawn where that is no terminal, or without the package `rich`.

    Args:
        quiet: draw nothing anywhere.
        total: what `completed` will be in the end; None where that is not known.
        in_bytes: the bar counts bytes, not messages.

    Yields:
        A function that takes `messages`, `completed` and `total` by name and moves the bar.
    """
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )
    except ImportError:
        yield _ignore
        return
    bar = Progress(
        TextColumn("{task.fields[messages]} messages"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task("", total=total, messages=0)
    with bar:
        yield lambda **changes: bar.update(task, **changes)


def _ignore(**_changes: int | None) -> None:
    """Draw nothing."""
