"""The command that runs the simulation of brokers."""

from __future__ import annotations

import os
import subprocess
import sys


def test_it_needs_no_settings_of_django() -> None:
    without = {name: of for name, of in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--help"],
        env=without,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--seeds" in done.stdout
