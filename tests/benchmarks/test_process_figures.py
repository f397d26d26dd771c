from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import pytest

from benchmarks.process_figures import processor_seconds, resident_mb, seconds_since_start


def test_processor_time_is_that_of_the_process():
    while time.process_time() < 0.1:
        pass
    assert processor_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_memory_is_that_of_the_process():
    greatest_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    assert 1 < resident_mb(os.getpid()) <= greatest_mb * 1.1


def test_a_process_is_as_old_as_it_is():
    before = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        age_s = seconds_since_start(process.pid)
        assert -0.02 <= age_s <= time.monotonic() - before + 0.02
        process.communicate(b"\n")
