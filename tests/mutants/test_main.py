from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants import __main__ as command
from tests.mutants.catalogue import MUTANTS
from tests.mutants.table import table_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mutants.mutant import Mutant


def test_list_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [mutant.name for mutant in MUTANTS]


def test_table_is_written_as_it_stands_in_the_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--table"]) == 0
    assert capsys.readouterr().out == table_of(MUTANTS) + "\n"


@pytest.mark.parametrize("arguments", [["--only", "no-such-fault"], ["--jobs", "0"]])
def test_wrong_arguments_end_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_fault_that_does_not_apply_is_told_and_fails(
    repository: Path,
    outdated: Mutant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(command, "MUTANTS", (outdated,))
    assert command.main(["--only", "outdated"], root=repository) == 1
    output = capsys.readouterr().out
    assert "outdated: its text is in sums.py 0 times, not once" in output
    assert "1 does not apply of 1 faults" in output


def test_fault_that_is_found_is_told_and_passes(
    repository: Path,
    subtracting: Mutant,
    missed: Mutant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(command, "MUTANTS", (subtracting, missed))
    assert command.main(["--only", "subtracting"], root=repository) == 0
    assert "1 found of 1 faults" in capsys.readouterr().out
