"""Options of the core's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that rewrites scenario files."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        default=False,
        help="write what the scenarios print into their files; commit only what you understand",
    )
