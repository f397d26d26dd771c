"""What users import comes quickly, and without what it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORT_MS_MAX = 150


def import_ms(statement: str) -> float:
    """Return the least milliseconds that an import takes, of a few tries."""
    program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    tries = [
        float(
            subprocess.run(
                [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True
            ).stdout
        )
        for _ in range(5)
    ]
    return min(tries) * 1000


def test_the_import_is_quick() -> None:
    assert import_ms("import myqueue") <= IMPORT_MS_MAX


def test_the_producer_comes_without_what_it_does_not_need() -> None:
    program = (
        "import sys; from myqueue import Consumer, Producer; "
        "print(sorted({'asyncio', 'ssl', 'rich', 'django', 'requests'} & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"
