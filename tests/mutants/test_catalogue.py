from __future__ import annotations

import re

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.table import table_in, table_of

DOCUMENT = ROOT / "docs" / "explanation" / "testing.md"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_applies_to_the_code_as_it_is(mutant: Mutant) -> None:
    compile(mutant.changed((ROOT / mutant.path).read_text()), mutant.path, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_named_test_is_there(mutant: Mutant) -> None:
    function = re.compile(rf"^(async )?def {mutant.test_name}\(", re.MULTILINE)
    assert function.search((ROOT / mutant.test_path).read_text())


def test_names_are_given_once() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 14
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_table_of_the_documentation_is_the_catalogue() -> None:
    assert table_in(DOCUMENT.read_text()) == table_of(MUTANTS), (
        f"write the output of `python -m tests.mutants --table` into {DOCUMENT}"
    )
