from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from queuesite.log_lines import JsonLines

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
                "QUEUESITE_ROLE": "broker",
                "LOG_FORMAT": form,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        (said[form],) = done.stderr.splitlines()
    assert said[""].endswith(" WARNING queue: 3 left")
    assert said["text"].endswith(" WARNING queue: 3 left")
    assert json.loads(said["json"])["message"] == "3 left"
