from __future__ import annotations

from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mutants.conftest import SUM
from tests.mutants.mutant import DoesNotApply

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant
    from tests.mutants.tree import Tree


def test_copy_has_what_git_does_not_ignore(repository: Path, tree: Tree) -> None:
    names = {str(path.relative_to(tree.root)) for path in tree.root.rglob("*") if path.is_file()}
    assert names == {".gitignore", "sums.py", "test_sums.py", "inner/new.txt"}
    assert (tree.root / ".venv").resolve() == repository / ".venv"


def test_fault_is_there_for_the_time_of_the_block(
    tree: Tree, repository: Path, subtracting: Mutant
) -> None:
    with tree.with_fault(subtracting):
        assert (tree.root / "sums.py").read_text() == SUM.replace("+", "-")
        assert (repository / "sums.py").read_text() == SUM
    assert (tree.root / "sums.py").read_text() == SUM


def test_fault_is_taken_back_after_an_error(tree: Tree, subtracting: Mutant) -> None:
    with pytest.raises(KeyError), tree.with_fault(subtracting):
        raise KeyError
    assert (tree.root / "sums.py").read_text() == SUM


def test_bytecode_never_outlives_its_source(tree: Tree, subtracting: Mutant) -> None:
    bytecode = Path(cache_from_source(str(tree.root / "sums.py")))
    bytecode.parent.mkdir()
    bytecode.write_bytes(b"of the original")
    with tree.with_fault(subtracting):
        assert not bytecode.exists()
        bytecode.write_bytes(b"of the fault")
    assert not bytecode.exists()


def test_fault_that_does_not_apply_changes_nothing(tree: Tree, outdated: Mutant) -> None:
    with pytest.raises(DoesNotApply, match="0 times"), tree.with_fault(outdated):
        pytest.fail("it was applied")
    assert (tree.root / "sums.py").read_text() == SUM


def test_file_that_is_gone_is_named(tree: Tree, subtracting: Mutant) -> None:
    (tree.root / "sums.py").unlink()
    with (
        pytest.raises(DoesNotApply, match=r"there is no sums\.py"),
        tree.with_fault(subtracting),
    ):
        pytest.fail("it was applied")
