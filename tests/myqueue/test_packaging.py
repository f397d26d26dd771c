"""What users install: quick to import, and whole without the servers' packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT_MS_MAX = 150
SETUPTOOLS_MIN = 77
"""Older ones need another package to make wheels."""
OFFLINE = ("--no-index", "--no-deps")
DEPENDENCIES = ("msgspec",)
PROGRAM = """
import importlib.util
from myqueue import Client, Consumer, Producer
from myqueue.testing.queue import InMemoryQueue

for absent in ("django", "rest_framework", "celery", "requests", "aiohttp", "rich"):
    assert importlib.util.find_spec(absent) is None, absent
with InMemoryQueue() as queue:
    with Producer("logs", queue.address) as producer:
        producer.enqueue("logs", "hello")
    with Consumer("logs", queue.address) as consumer:
        print(consumer.dequeue("logs"))
"""


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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what it is made of, without the network."""
    if int(version("setuptools").partition(".")[0]) < SETUPTOOLS_MIN:
        pytest.skip(f"setuptools {version('setuptools')} makes no wheels; run `make setup`")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "myqueue", source / "myqueue", ignore=ignored)
    pip(sys.executable, "wheel", ".", "--no-build-isolation", "--wheel-dir", "out", cwd=source)
    (made,) = (source / "out").glob("myqueue-*.whl")
    return made


def pip(python: str, command: str, *arguments: str, cwd: Path) -> None:
    """Run pip without index and dependencies."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "-q", command, *OFFLINE, *arguments],
        cwd=cwd,
        check=True,
    )


def test_the_wheel_works_in_an_environment_without_django(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip(python, "install", str(wheel), cwd=tmp_path)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    here = Path(sysconfig.get_path("platlib"))
    for name in DEPENDENCIES:
        shutil.copytree(here / name, packages / name)
    for command, expected in (
        ([python, "-c", PROGRAM], "hello\n"),
        ([str(tmp_path / "venv" / "bin" / "myqueue"), "--help"], "usage: myqueue"),
    ):
        found = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert found.stdout.startswith(expected)
    assert (packages / "myqueue" / "py.typed").is_file()
