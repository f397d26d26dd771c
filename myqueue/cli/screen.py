"""A terminal that a command draws on anew: it scrolls, and its keys are read one by one."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import termios
import tty
from collections.abc import Sequence
from typing import Any, Self

_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\033[H", "\033[K", "\033[J"
_ESCAPES = re.compile(r"(\033\[[0-9;]*m)")
_KEYS = {
    "\033[A": "up",
    "k": "up",
    "\033[B": "down",
    "j": "down",
    "\033[5~": "page up",
    "b": "page up",
    "\033[6~": "page down",
    " ": "page down",
    "\033[H": "top",
    "g": "top",
    "\033[F": "end",
    "G": "end",
}
_READ_BYTES = 32


class Screen:
    """The terminal, with its earlier content kept; to be entered with `with`."""

    def __init__(self) -> None:
        self._top = 0
        self._line_count = 0
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            # Keys come at once and are not shown; Ctrl-C stays what it is.
            tty.setcbreak(sys.stdin)
        sys.stdout.write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def draw(self, lines: Sequence[str], footer: str) -> None:
        """Draw the lines from where it was scrolled to, as far as there is room, and the footer."""
        self._line_count = len(lines)
        self.scroll("")
        height, width = _size()
        shown = list(lines[self._top : self._top + height - 1])
        below = len(lines) - self._top - len(shown)
        if self._top or below:
            footer = f"{footer}; {self._top} lines above, {below} below"
        drawn = [f"{cut(line, width)}{_CLEAR_LINE}\n" for line in shown]
        sys.stdout.write(f"{_HOME}{''.join(drawn)}{cut(footer, width)}{_CLEAR_LINE}{_CLEAR_REST}")
        sys.stdout.flush()

    def scroll(self, key: str) -> None:
        """Move by a key: up, down, page up, page down, top or end; others move nothing."""
        page = _size()[0] - 1
        last = max(0, self._line_count - page)
        moved = {
            "up": self._top - 1,
            "down": self._top + 1,
            "page up": self._top - page,
            "page down": self._top + page,
            "top": 0,
            "end": last,
        }
        self._top = min(max(0, moved.get(key, self._top)), last)

    def key(self, timeout_s: float) -> str:
        """Return a key that was pressed in time: its letter or name; empty when none was."""
        if self._before is None:
            select.select([], [], [], timeout_s)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
        if not ready:
            return ""
        typed = os.read(sys.stdin.fileno(), _READ_BYTES).decode(errors="replace")
        return _KEYS.get(typed, typed[:1]) or "q"


def _size() -> tuple[int, int]:
    width, height = shutil.get_terminal_size()
    return max(2, height), max(1, width)


def cut(line: str, width: int) -> str:
    """Return a line that is not wider, with the colours that it has."""
    parts: list[str] = []
    for number, part in enumerate(_ESCAPES.split(line)):
        is_escape = number % 2
        parts.append(part if is_escape else part[:width])
        width -= 0 if is_escape else len(parts[-1])
    return "".join(parts)
