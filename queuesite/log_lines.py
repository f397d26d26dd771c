"""How a process writes its log: one line for each event, text for people or JSON for machines.

Lines that are written for a request have its id. Of a kind that comes again and again, as when a
peer is dead or a disk is full, only so many are written; how many were left out is said.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from http_base.request_marks import request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    Kind = tuple[str, int]
    """(logger, line of the source): where lines of a kind come from."""

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s"
OWN_LOGGERS = ("queuesite", "manager_app", "broker_app", "raft_app", "http_base", "myqueue")
"""What QUEUE_LOG_LEVEL is about."""
WINDOW_S = 10.0
"""Seconds over which lines of a kind are counted."""
LINES_MAX = 20
"""Lines of a kind that are written in a window; DEBUG lines all are."""
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
_ESCAPED |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


class TextLines(logging.Formatter):
    """Writes a record as one line for people; a traceback follows in lines of its own."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; what a client sent cannot begin another one."""
        own_id = request_id()
        record.request = f"[{own_id}] " if own_id else ""
        record.message = record.message.translate(_ESCAPED)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON: time, level, logger, message, and what was raised.

    The time is RFC 3339 in UTC with milliseconds; `request_id` is there where the line belongs to a
    request. A traceback, or what it is printed from, stays inside of its line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if own_id := request_id():
            line["request_id"] = own_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return msgspec.json.encode(line).decode()


class _Flood:
    """The lines of one kind in the present window."""

    def __init__(self, now_s: float) -> None:
        self.since_s = now_s
        self.written = 0
        self.left_out = 0
        self.timer: threading.Timer | None = None
        """Tells at the end of the window how many were left out."""


class BoundedHandler(logging.StreamHandler[Any]):
    """Writes to stderr; of each kind of line at most `LINES_MAX` in `WINDOW_S`."""

    def __init__(self, *, window_s: float = WINDOW_S, lines_max: int = LINES_MAX) -> None:
        """Make a handler.

        Args:
            window_s: over which lines of a kind are counted.
            lines_max: of them that are written.
        """
        super().__init__()
        self._window_s = window_s
        self._lines_max = lines_max
        self._floods: dict[Kind, _Flood] = {}
        """There are as many kinds as places in the source that log."""

    @property
    def floods(self) -> Mapping[Kind, int]:
        """Lines left out in the present window, by kind."""
        return {kind: flood.left_out for kind, flood in self._floods.items() if flood.left_out}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        if record.levelno <= logging.DEBUG or self._has_room(record):
            super().emit(record)

    def close(self) -> None:
        """Say what was left out, and write nothing more."""
        for kind in self.floods:
            self._tell(kind)
        super().close()

    def _has_room(self, record: logging.LogRecord) -> bool:
        """Tell whether a record may be written; `handle` holds the lock."""
        kind, now_s = (record.name, record.lineno), time.monotonic()
        flood = self._floods.get(kind)
        if flood is None or (now_s - flood.since_s >= self._window_s and not flood.left_out):
            flood = self._floods[kind] = _Flood(now_s)
        if flood.written < self._lines_max:
            flood.written += 1
            return True
        flood.left_out += 1
        # While the interpreter ends, a thread never runs, and who starts it waits for it for ever.
        if flood.timer is None and not sys.is_finalizing():
            end_s = max(0.0, flood.since_s + self._window_s - now_s)
            flood.timer = threading.Timer(end_s, self._tell, [kind, record])
            flood.timer.daemon = True
            flood.timer.start()
        return False

    def _tell(self, kind: Kind, like: logging.LogRecord | None = None) -> None:
        """Say how many lines of a kind were left out, and begin its next window."""
        self.acquire()
        try:
            flood = self._floods.pop(kind, None)
            if flood is None or not flood.left_out:
                return
            if flood.timer is not None:
                flood.timer.cancel()
            said = f"{flood.left_out} lines like those before were left out"
            if like is not None:
                said += f', as "{like.getMessage()[:100]}"'
            level = logging.WARNING if like is None else like.levelno
            made = logging.LogRecord(kind[0], level, __file__, 0, said, None, None)
            super().emit(made)
        finally:
            self.release()
