"""Give both distributions a version: `python -m tools.version 0.4.0`.

It is said where a build, which sees one distribution alone, has to find it: in both packages and in
what the servers require. A final version also closes the section of what was not released yet in
the changelog, with today's date. Tests hold all places together.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPOKEN = re.compile(r"\d+\.\d+\.\d+(\.dev\d+)?")
PLACES = {
    "myqueue/__init__.py": re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE),
    "queuesite/__init__.py": re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE),
    "distributions/client-version.txt": re.compile(r"(?<===).+"),
}
"""File -> the version in it."""
CHANGELOG = "CHANGELOG.md"


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return what each place says."""
    found = {}
    for name, pattern in PLACES.items():
        match = pattern.search((root / name).read_text())
        found[name] = match[0] if match else ""
    return found


def set_version(version: str, *, root: Path = ROOT, today: str) -> None:
    """Write a version into all places.

    Args:
        version: `1.2.3`, or `1.2.3.dev0` for what will be that.
        root: of the repository.
        today: `2026-11-29`, the date of a version that is final.

    Raises:
        ValueError: it is no version.
    """
    if not SPOKEN.fullmatch(version):
        raise ValueError(f"a version is 1.2.3 or 1.2.3.dev0, not {version!r}")
    for name, pattern in PLACES.items():
        path = root / name
        path.write_text(pattern.sub(version, path.read_text(), count=1))
    if "dev" not in version:
        path = root / CHANGELOG
        heading = f"## Unreleased\n\n## {version} - {today}"
        path.write_text(path.read_text().replace("## Unreleased", heading, 1))


if __name__ == "__main__":
    set_version(sys.argv[1], today=datetime.now(UTC).date().isoformat())
