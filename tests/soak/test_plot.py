"""The drawing of a soak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.plot import TITLES, draw
from tests.soak.samples import Sample

if TYPE_CHECKING:
    from pathlib import Path


def test_every_figure_and_process_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = {name: [Sample(60.0 * n, 100, 9, 8, 1, 2) for n in range(3)] for name in ("a", "b")}
    draw(samples, {60.0: "killed"}, tmp_path / "new" / "soak.svg", "a title")
    drawn = (tmp_path / "new" / "soak.svg").read_text()
    for text in (*TITLES.values(), "a", "b", "a title", "minutes; dotted: killed"):
        assert f"<!-- {text} -->" in drawn
