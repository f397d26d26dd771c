from __future__ import annotations

import io
import sys

import pytest

from myqueue.cli.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, *, quiet: bool) -> str:
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(quiet=quiet) as show:
        show(messages=1, completed=1, total=2)
        show(messages=2, completed=2)
    return terminal.getvalue()


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), quiet=False)
    assert "2 messages" in text
    assert "2/2" in text


@pytest.mark.parametrize(("terminal", "quiet"), [(Terminal(), True), (io.StringIO(), False)])
def test_nothing_is_drawn_quietly_or_into_a_pipe(
    monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, quiet: bool
) -> None:
    assert shown(monkeypatch, terminal, quiet=quiet) == ""


def test_nothing_is_drawn_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert shown(monkeypatch, Terminal(), quiet=False) == ""
