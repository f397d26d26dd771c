"""One version, said at several places, and the changelog of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import myqueue
import queuesite
from tools.version import CHANGELOG, PLACES, ROOT, SPOKEN, set_version, versions

HEADING = re.compile(r"^## (\S+)(?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition(".dev")[0].split("."))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in (*PLACES, CHANGELOG):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_all_places_say_one_version():
    assert set(versions().values()) == {myqueue.__version__} == {queuesite.__version__}
    assert SPOKEN.fullmatch(myqueue.__version__)


def test_changelog_has_a_section_for_each_version_with_its_date():
    (first, undated), *released = HEADING.findall((ROOT / CHANGELOG).read_text())
    assert (first, undated) == ("Unreleased", "")
    assert all(date for _, date in released)
    assert [parts(one) for one, _ in released] == sorted(
        (parts(one) for one, _ in released), reverse=True
    )
    last, now = parts(released[0][0]), parts(myqueue.__version__)
    assert now > last if "dev" in myqueue.__version__ else now == last


def test_version_is_written_everywhere_and_closes_the_section_when_it_is_final(copied: Path):
    before = (copied / CHANGELOG).read_text()
    set_version("7.8.9.dev0", root=copied, today="2027-01-02")
    assert set(versions(copied).values()) == {"7.8.9.dev0"}
    assert (copied / CHANGELOG).read_text() == before
    set_version("7.8.9", root=copied, today="2027-01-02")
    assert set(versions(copied).values()) == {"7.8.9"}
    assert HEADING.findall((copied / CHANGELOG).read_text())[:2] == [
        ("Unreleased", ""),
        ("7.8.9", "2027-01-02"),
    ]


def test_what_is_no_version_is_refused(copied: Path):
    before = versions(copied)
    with pytest.raises(ValueError, match="a version is"):
        set_version("next", root=copied, today="2027-01-02")
    assert versions(copied) == before
