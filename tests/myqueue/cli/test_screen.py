from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator

import pytest

from myqueue.cli import screen as cli_screen
from myqueue.cli.screen import Screen, cut

LINES = [f"line {number}" for number in range(10)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_screen, "_size", lambda: (4, 40))


def drawn(capsys: pytest.CaptureFixture[str]) -> list[str]:
    text = capsys.readouterr().out.replace("\033[H", "").replace("\033[K", "")
    return text.replace("\033[J", "").split("\n")


def test_what_fits_is_drawn_with_what_is_above_and_below(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    screen.draw(LINES, "help")
    assert drawn(capsys) == ["line 0", "line 1", "line 2", "help; 0 lines above, 7 below"]
    screen.draw(LINES[:2], "help")
    assert drawn(capsys) == ["line 0", "line 1", "help"]


@pytest.mark.parametrize(
    ("keys", "top"),
    [
        (["down"], 1),
        (["up"], 0),
        (["page down", "page down", "up"], 5),
        (["end"], 7),
        (["end", "down"], 7),
        (["end", "page up"], 4),
        (["end", "top"], 0),
        (["x"], 0),
    ],
)
def test_keys_scroll(
    small: None, capsys: pytest.CaptureFixture[str], keys: list[str], top: int
) -> None:
    screen = Screen()
    screen.draw(LINES, "")
    for key in keys:
        screen.scroll(key)
    drawn(capsys)
    screen.draw(LINES, "")
    assert drawn(capsys)[0] == f"line {top}"


def test_fewer_lines_are_seen_from_their_end(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    screen.draw(LINES, "")
    screen.scroll("end")
    drawn(capsys)
    screen.draw(LINES[:4], "")
    assert drawn(capsys)[:-1] == LINES[1:4]


def test_a_line_is_cut_and_keeps_its_colours() -> None:
    line = "ab\033[31mcdef\033[0mgh"
    assert cut(line, 4) == "ab\033[31mcd\033[0m"
    assert cut(line, 100) == line
    assert cut("plain", 0) == ""


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal whose keys the test presses."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r", closefd=True) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


def test_keys_are_read_one_by_one(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        assert screen.key(0.0) == ""
        for typed, name in (
            (b"\033[A", "up"),
            (b"q", "q"),
            (b"\033[6~", "page down"),
            (b"G", "end"),
        ):
            os.write(keyboard, typed)
            assert screen.key(10.0) == name
    out = capsys.readouterr().out
    assert out.startswith("\033[?1049h")
    assert out.endswith("\033[?1049l")


def test_without_a_keyboard_it_waits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with Screen() as screen:
            assert screen.key(0.001) == ""
