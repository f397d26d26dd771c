from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants.display import OUTPUT_LINES, shown
from tests.mutants.examination import Result, Verdict

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant


def test_without_a_terminal_each_result_is_a_plain_line(
    subtracting: Mutant, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Result(subtracting, Verdict.FOUND, 1.25, "a failure, as it should be")
    assert list(shown([result], 2)) == [result]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ["found", "subtracting", "1.2", "s", subtracting.test]


def test_end_of_the_output_says_why_a_fault_was_not_found(
    missed: Mutant, capsys: pytest.CaptureFixture[str]
) -> None:
    output = "\n".join(f"line {number}" for number in range(100))
    list(shown([Result(missed, Verdict.MISSED, 1.0, output)], 2))
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("MISSED")
    assert [line.strip() for line in rest] == output.splitlines()[-OUTPUT_LINES:]


def test_terminal_gets_a_bar(
    subtracting: Mutant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(shown([Result(subtracting, Verdict.FOUND)] * 2, 2))
    output = capsys.readouterr().out
    assert "faults" in output
    assert "2/2" in output
