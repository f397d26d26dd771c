from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mutants.mutant import DoesNotApply, Mutant


def test_text_is_replaced_where_it_is(subtracting: Mutant) -> None:
    assert subtracting.changed("return a + b, c") == "return a - b, c"


@pytest.mark.parametrize("text", ["", "a +  b", "a + b or a + b"])
def test_text_must_be_there_exactly_once(subtracting: Mutant, text: str) -> None:
    with pytest.raises(DoesNotApply, match="subtracting"):
        subtracting.changed(text)


def test_mutant_that_changes_nothing_refuses_to_exist(subtracting: Mutant) -> None:
    for old, new in (("", "a"), ("a", "a")):
        with pytest.raises(ValueError, match="changes nothing"):
            replace(subtracting, old=old, new=new)


def test_test_has_a_file_and_a_name(subtracting: Mutant) -> None:
    assert (subtracting.test_path, subtracting.test_name) == ("test_sums.py", "test_two_and_three")
