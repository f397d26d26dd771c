"""The application of docs/how-to/fastapi.md does what the test beside it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.pages import blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/how-to/fastapi.md"


def test_the_application_passes_its_test(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    files = {block.title: block.text for block in blocks_of(PAGE) if block.title}
    assert files.keys() == {"application.py", "test_application.py"}
    for name, text in files.items():
        (tmp_path / str(name)).write_text(text)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "test_application.py"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
