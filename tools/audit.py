"""Ask the advisories of the package index about what is pinned: `make audit`.

Exit status 1 when a pinned version has a known vulnerability, which is named; 0 when none has, and
also when nobody could be asked, which is said: a network without the advisories shall not stop
other checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PINS = ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt")
ASK_S = 120.0
"""For all answers."""


class Audit(NamedTuple):
    """What was found."""

    asked: int
    """Packages of which the advisories were read."""
    unasked: list[str]
    vulnerable: list[str]
    """`name version: ids; fixed in ...`."""


def audit(pins: Path) -> Audit:
    """Ask about every version that a file pins.

    Raises:
        OSError: nobody could be asked; why is in its text.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no answer within {ASK_S:.0f} s") from error
    if not done.stdout:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    return read(json.loads(done.stdout))


def read(report: dict[str, Any]) -> Audit:
    """Return what a report of pip-audit says."""
    found = Audit(0, [], [])
    for package in report["dependencies"]:
        if "skip_reason" in package:
            found.unasked.append(package["name"])
            continue
        found = found._replace(asked=found.asked + 1)
        for hole in package["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "no version"
            name = f"{package['name']} {package['version']}"
            found.vulnerable.append(f"{name}: {hole['id']}; mended in {mended}")
    return found


def main() -> int:
    """Ask about all files of pins; return the exit status."""
    status = 0
    for name in PINS:
        try:
            found = audit(ROOT / name)
        except OSError as error:
            print(f"{name}: NOT AUDITED: {error}")
            continue
        if not found.asked and found.unasked:
            print(f"{name}: NOT AUDITED: the advisories know none of {len(found.unasked)} packages")
            continue
        rest = f", not {', '.join(found.unasked)}" if found.unasked else ""
        print(f"{name}: {found.asked} packages audited{rest}")
        for line in found.vulnerable:
            print(f"  {line}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
