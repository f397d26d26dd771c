from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from http_base.request_marks import CURRENT, RequestMark
from queuesite.log_lines import BoundedHandler, JsonLines, TextLines

ROOT = Path(__file__).resolve().parents[2]


def record(message, *args, exc_info=None, created=1_700_000_000.25):
    made = logging.LogRecord("queue.a", logging.WARNING, __file__, 1, message, args, exc_info)
    made.created = created
    return made


def test_a_record_is_one_line_of_json():
    line = JsonLines().format(record("two\nlines and a %s", "ünïcode"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "queue.a",
        "message": "two\nlines and a ünïcode",
    }


def test_what_was_raised_stays_in_the_line():
    try:
        raise ValueError("no such thing")
    except ValueError:
        line = JsonLines().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    said = json.loads(line)
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: no such thing")


def test_a_process_logs_as_it_is_told(tmp_path):
    program = (
        "import django, logging; django.setup(); logging.getLogger('queue').warning('%d left', 3)"
    )
    said = {}
    for form in ("", "text", "json"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "queuesite.settings",
                "QUEUE_ROLE": "broker",
                "QUEUE_LOG_FORMAT": form,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        (said[form],) = done.stderr.splitlines()
    assert said[""].endswith(" WARNING queue: 3 left")
    assert said["text"].endswith(" WARNING queue: 3 left")
    assert json.loads(said["json"])["message"] == "3 left"


@pytest.fixture
def in_a_request():
    mark = RequestMark()
    mark.take_id(b"r-17")
    before = CURRENT.set(mark)
    yield
    CURRENT.reset(before)


def test_lines_of_a_request_have_its_id(in_a_request):
    assert json.loads(JsonLines().format(record("done")))["request_id"] == "r-17"
    assert TextLines().format(record("done")).endswith(" WARNING queue.a: [r-17] done")


def test_what_a_client_sent_begins_no_line():
    line = TextLines().format(record("nothing at %s", "/a\n2026-01-01 ERROR\x1b[2J"))
    assert line.endswith(r"nothing at /a\n2026-01-01 ERROR\x1b[2J")
    assert "\n" not in line


def handler_of(stream, **limits):
    handler = BoundedHandler(**limits)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.stream = stream
    return handler


def test_a_flood_of_one_kind_is_cut_and_counted_and_others_are_not():
    stream = StringIO()
    handler = handler_of(stream, window_s=600, lines_max=3)
    for number in range(1000):
        handler.handle(record("peer %d is gone", number))
    other = record("another thing")
    other.lineno = 2
    handler.handle(other)
    detail = record("a detail")
    detail.levelno, detail.levelname = logging.DEBUG, "DEBUG"
    for _ in range(5):
        handler.handle(detail)
    handler.close()
    assert stream.getvalue().splitlines() == [
        "WARNING peer 0 is gone",
        "WARNING peer 1 is gone",
        "WARNING peer 2 is gone",
        "WARNING another thing",
        *["DEBUG a detail"] * 5,
        "WARNING 997 lines like those before were left out",
    ]


def test_the_end_of_a_flood_is_told_by_itself():
    stream = StringIO()
    handler = handler_of(stream, window_s=0.05, lines_max=1)
    for _ in range(3):
        handler.handle(record("gone: %s", "x" * 500))
    deadline = time.monotonic() + 30
    while handler.floods and time.monotonic() < deadline:
        time.sleep(0.005)
    assert stream.getvalue().splitlines()[1:] == [
        f'WARNING 2 lines like those before were left out, as "gone: {"x" * 94}"'
    ]
    handler.handle(record("again"))
    handler.close()
    assert stream.getvalue().splitlines()[2:] == ["WARNING again"]


FLOOD_AT_THE_END = """
import gc
import logging
from queuesite.log_lines import BoundedHandler
logger = logging.getLogger("queue")
logger.addHandler(BoundedHandler(window_s=600, lines_max=1))
class Talkative:
    def __init__(self):
        self.itself = self
    def __del__(self):
        for _ in range(3):
            logger.warning("gone")
gc.disable()
Talkative()
"""
"""What nobody refers to but itself goes when the interpreter ends, and runs no threads any more."""


def test_a_flood_while_the_interpreter_ends_does_not_keep_it_from_ending():
    ended = subprocess.run(
        [sys.executable, "-c", FLOOD_AT_THE_END],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr.splitlines() == ["gone"]
