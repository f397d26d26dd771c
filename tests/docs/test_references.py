"""What names a page, a picture or a figure elsewhere names one that is there.

Links between pages of docs/ are checked when they are built (tests/browser/test_documentation.py).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES_BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_PAGE = re.compile(r"docs/[\w./-]+\.(?:md|svg|png)")
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=False, text=True
    )
    found = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in found if path.is_file()] or pytest.skip("no git repository")


def anchors_of(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text())
    headings = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", found) for found in _HEADING.findall(text)]
    return {slugify(heading.replace("`", ""), "-") for heading in headings}


def test_code_and_settings_name_pages_that_are_there():
    files = tracked("*.py", "*.yml", "*.yaml", "*.toml", "*.html", "*.env", "*.service", "Makefile")
    named = {
        (str(path.relative_to(ROOT)), found)
        for path in files
        for found in _PAGE.findall(path.read_text())
    }
    assert len(named) > 10
    assert {one for one in named if not (ROOT / one[1]).is_file()} == set()


def test_docstrings_name_pages_by_their_whole_path():
    """`consensus.md` alone leaves the reader to search."""
    bare = re.compile(r"(?<![\w/.-])[a-z-]+\.md\b")
    servers = ("myqueue/", "manager_app/", "broker_app/", "raft_app/", "http_base/", "queuesite/")
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in tracked("*.py")
        if str(path.relative_to(ROOT)).startswith(servers)
        for name in bare.findall(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize("name", PAGES_BESIDE)
def test_links_of_pages_outside_lead_somewhere(name):
    text = _FENCE.sub("", (ROOT / name).read_text())
    broken = []
    for target, anchor in _LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        path = ROOT / target if target else ROOT / name
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_the_figures_of_the_first_page_are_those_that_were_measured():
    measured = (DOCS / "explanation/performance.md").read_text()
    _, _, told = (ROOT / "README.md").read_text().partition("[start:figures]")
    table, _, _ = told.partition("[end:figures]")
    rows = [line.split("|")[2:-1] for line in table.splitlines() if line.startswith("| ")][1:]
    figures = [cell.strip() for row in rows for cell in row if any(map(str.isdigit, cell))]
    assert len(figures) == 15
    assert [figure for figure in figures if figure not in measured] == []


def test_documentation_and_console_have_one_logo():
    own = (DOCS / "images/logo.svg").read_bytes()
    assert own == (ROOT / "manager_app/static/console/logo.svg").read_bytes()
