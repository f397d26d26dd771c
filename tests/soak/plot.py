"""Draws what the processes of a soak took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.samples import FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.soak.samples import Sample

TITLES = {
    "memory_mib": "memory (MiB)",
    "descriptors": "descriptors",
    "threads": "threads",
    "wal_mib": "write-ahead log (MiB)",
    "disk_mib": "disk (MiB)",
}


def draw(
    samples: Mapping[str, Sequence[Sample]], events: Mapping[float, str], path: Path, title: str
) -> None:
    """Draw a panel for each figure, with a line for each process.

    Args:
        samples: by process.
        events: what happened at which second.
        path: of the SVG file.
        title: above all.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "soak"  # The same figures give the same file.
    from matplotlib import pyplot

    drawing, panels = pyplot.subplots(len(FIGURES), 1, figsize=(9, 11), sharex=True)
    for panel, figure in zip(panels, FIGURES, strict=True):
        for name, taken in samples.items():
            minutes = [one.seconds / 60 for one in taken]
            panel.plot(minutes, [getattr(one, figure) for one in taken], label=name, linewidth=1)
        for seconds in events:
            panel.axvline(seconds / 60, color="grey", linewidth=0.5, linestyle="dotted")
        panel.set_ylabel(TITLES[figure])
        panel.set_ylim(bottom=0)
    panels[0].set_title(title, fontsize="medium")
    panels[0].legend(fontsize="small", ncols=len(samples))
    panels[-1].set_xlabel("minutes; dotted: " + ", ".join(dict.fromkeys(events.values())))
    drawing.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, metadata={"Date": None})
    pyplot.close(drawing)
