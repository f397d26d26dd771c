from __future__ import annotations

import io
import sys

import pytest

from myqueue.cli import progress
from myqueue.cli.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, *, quiet: bool) -> str:
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PAUSE_S", 0.0)
    with progress_bar(quiet=quiet) as show:
        show(messages=1, completed=1, total=2)
        show(messages=2, completed=2)
    return terminal.getvalue()


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), quiet=False)
    assert "2 messages" in text
    assert f"[{'=' * 15}{' ' * 15}] 1/2" in text
    assert f"[{'=' * 30}] 2/2" in text


@pytest.mark.parametrize(("terminal", "quiet"), [(Terminal(), True), (io.StringIO(), False)])
def test_nothing_is_drawn_quietly_or_into_a_pipe(
    monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, quiet: bool
) -> None:
    assert shown(monkeypatch, terminal, quiet=quiet) == ""


def test_bytes_have_units_and_a_total_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(quiet=False, in_bytes=True) as show:
        show(messages=1_000, completed=3 << 20)
    assert "1,000 messages  3.0 MiB  " in terminal.getvalue()
    assert "[" not in terminal.getvalue().replace("\033[K", "")
    assert terminal.getvalue().endswith("\r\033[K")
