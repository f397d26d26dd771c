from __future__ import annotations

from benchmarks.plot import BATCH_SIZES, CLIENT_COUNTS, Series, batch_names, client_names, draw
from benchmarks.registry import is_shared, make_workload
from tests.benchmarks.samples import measured, outcome


def test_every_point_has_a_workload():
    for name in (*batch_names(), *client_names()):
        assert make_workload(name).figures
    for name in (*batch_names(), *client_names(side_by_side=True)):
        assert is_shared(name)
    assert len(batch_names()) == len(BATCH_SIZES)
    assert len(client_names()) == len(CLIENT_COUNTS)


def test_the_drawing_is_the_same_for_the_same_figures(tmp_path):
    sizes = (1, 10, 100)
    outcomes = [
        outcome(f"produce_batch_{size}", measured(100 * size), measured(110 * size))
        for size in sizes
    ]
    lines = {"queuesite": outcomes, "nats": outcomes}
    for name in ("one.svg", "two.svg"):
        draw([Series("messages in a batch", sizes, lines)], tmp_path / "made" / name)
    drawings = [path.read_text() for path in (tmp_path / "made").iterdir()]
    assert drawings[0] == drawings[1]
    assert drawings[0].lstrip().startswith("<?xml")
    assert "messages in a batch" in drawings[0]
    assert "nats p99" in drawings[0]
