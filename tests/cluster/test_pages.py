"""Every example of the tutorial and of the how-to pages does what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.pages import Reader, blocks_of, is_printed
from tests.cluster.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

PAGES = [ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]


def reader(folder: Path, cluster: Cluster) -> Reader:
    """Return somebody who follows pages in a folder."""
    return Reader(folder, cluster.manager, ROOT, data=cluster.data_dir)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_happens(page: Path, shared_cluster: Cluster, tmp_path: Path) -> None:
    assert reader(tmp_path, shared_cluster).follow(page) >= 1


def test_a_page_that_says_something_else_is_noticed(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match="says"):
        reader(tmp_path, shared_cluster).follow(page)
    page.write_text("```bash\nmyqueue describe nothing-of-this-name\n```\n")
    with pytest.raises(AssertionError, match="nothing-of-this-name"):
        reader(tmp_path / "again", shared_cluster).follow(page)


def test_blocks_are_found_with_language_and_title(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```\nmake run\n```\n\n```python title="a.py"\nx = 1\n```\n```text\nx\n```\n')
    assert [tuple(block) for block in blocks_of(page)] == [
        ("python", "a.py", "x = 1\n"),
        ("text", None, "x\n"),
    ]


def test_dots_stand_for_anything() -> None:
    assert is_printed("a ... c\n", "a b\nb c")
    assert not is_printed("a ... c", "a b d")


def test_other_numbers_may_stand_in_an_example_alone() -> None:
    assert is_printed("Ann billed 12 orders", "Ann billed 7 orders", numbers=False)
    assert not is_printed("Ann billed 12 orders", "Ann billed 7 orders")
    assert not is_printed("Ann billed 12 orders", "Ann billed no orders", numbers=False)
