"""Throughput and latency against the batch size and the number of clients, drawn as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measurement import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.outcome import Outcome

BATCH_SIZES = (1, 10, 100, 1_000, 10_000)
CLIENT_COUNTS = (1, 2, 4, 8, 16, 32, 64)


class Series(NamedTuple):
    """Outcomes of one family of workloads over growing sizes."""

    label: str
    """What the size is."""
    sizes: Sequence[int]
    lines: Mapping[str, Sequence[Outcome]]
    """By system: one for each size."""


def batch_names() -> list[str]:
    """Return the workloads of the batch sizes."""
    return [f"produce_batch_{size}" for size in BATCH_SIZES]


def client_names(*, side_by_side: bool = False) -> list[str]:
    """Return the workloads of the client counts: plain HTTP clients, or what all systems have."""
    family = "sync" if side_by_side else "http"
    return [f"{family}_{count}" for count in CLIENT_COUNTS]


def draw(series: Sequence[Series], path: Path) -> None:
    """Draw a column for each series: throughput above, latency below.

    Args:
        series: at least one.
        path: of the SVG file.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # The same figures give the same file.
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(
        2, len(series), figsize=(5.5 * len(series), 7), squeeze=False, sharex="col"
    )
    for column, one in enumerate(series):
        _draw_throughput(axes[0][column], one)
        _draw_latency(axes[1][column], one)
    drawing.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(drawing)


def _draw_throughput(axes: Any, series: Series) -> None:
    for system, outcomes in series.lines.items():
        summaries = [outcome.summary(Figure.PER_SECOND) for outcome in outcomes]
        medians = [summary.median for summary in summaries]
        below = [summary.median - summary.least for summary in summaries]
        above = [summary.greatest - summary.median for summary in summaries]
        spread = [below, above]
        axes.errorbar(series.sizes, medians, yerr=spread, marker="o", capsize=3, label=system)
    axes.set_ylabel("messages/s")
    if len(series.lines) > 1:
        axes.legend()
    _scale(axes, series)


def _draw_latency(axes: Any, series: Series) -> None:
    for number, (system, outcomes) in enumerate(series.lines.items()):
        for figure, style in ((Figure.P50_MS, "-"), (Figure.P99_MS, "--")):
            medians = [outcome.summary(figure).median for outcome in outcomes]
            label = f"{system} {figure.label.removesuffix(' ms')}"
            axes.plot(series.sizes, medians, style, marker="o", color=f"C{number}", label=label)
    axes.set_ylabel("milliseconds until acknowledged")
    axes.set_xlabel(series.label)
    axes.legend(fontsize="small")
    _scale(axes, series)


def _scale(axes: Any, series: Series) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(series.sizes, [f"{size:,}" for size in series.sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, alpha=0.3)
