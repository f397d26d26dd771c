from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.mutants.table import BEGIN, END, table_in, table_of

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant


def test_table_has_a_line_for_each_fault(subtracting: Mutant, missed: Mutant) -> None:
    assert table_of((subtracting, replace(missed, fault="a | b"))).splitlines() == [
        "| name        | fault        | where     | found by                               |",
        "| ----------- | ------------ | --------- | -------------------------------------- |",
        "| subtracting | It subtracts | `sums.py` | `test_two_and_three` in `test_sums.py` |",
        "| missed      | a \\| b       | `sums.py` | `test_nothing` in `test_sums.py`       |",
    ]


def test_table_is_found_between_its_marks() -> None:
    assert table_in(f"# Title\n\n{BEGIN}\n\n| a |\n| b |\n\n{END}\n\n| c |\n") == "| a |\n| b |"


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_document_without_a_place_for_it_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        table_in(document)
