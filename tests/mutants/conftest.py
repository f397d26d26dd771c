"""A small repository with one function, and faults of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

SUM = "def add(a, b):\n    return a + b\n"
TEST = (
    "from sums import add\n\n\n"
    "def test_two_and_three():\n    assert add(2, 3) == 5\n\n\n"
    "def test_nothing():\n    assert add(0, 0) == 0\n\n\n"
    "def test_that_fails():\n    assert add(1, 1) == 3\n"
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository: two tracked files, one that is new, one that is ignored."""
    root = tmp_path / "repository"
    (root / "inner").mkdir(parents=True)
    (root / "sums.py").write_text(SUM)
    (root / "test_sums.py").write_text(TEST)
    (root / ".gitignore").write_text("ignored\n.venv/\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    (root / "inner" / "new.txt").write_text("new")
    (root / "ignored").write_text("ignored")
    (root / ".venv").mkdir()
    return root


@pytest.fixture
def tree(repository: Path, tmp_path: Path) -> Tree:
    """A copy of it."""
    return Tree.copy(repository, tmp_path / "copy")


@pytest.fixture
def subtracting() -> Mutant:
    """A fault that a test finds."""
    return Mutant(
        name="subtracting",
        fault="It subtracts",
        path="sums.py",
        old="a + b",
        new="a - b",
        test="test_sums.py::test_two_and_three",
    )


@pytest.fixture
def missed(subtracting: Mutant) -> Mutant:
    """The same fault with a test that cannot see it."""
    return replace(subtracting, name="missed", test="test_sums.py::test_nothing")


@pytest.fixture
def outdated(subtracting: Mutant) -> Mutant:
    """A fault of code that is no longer there."""
    return replace(subtracting, name="outdated", old="a * b")


@pytest.fixture
def unfit(subtracting: Mutant) -> Mutant:
    """A fault whose test fails anyway."""
    return replace(subtracting, name="unfit", test="test_sums.py::test_that_fails")
