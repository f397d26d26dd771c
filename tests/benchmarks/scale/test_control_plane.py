from __future__ import annotations

import pytest

from benchmarks.scale.control_plane import measure_control_plane
from benchmarks.workloads.control_plane import ControlPlane
from manager_app.models import Replica


@pytest.mark.django_db
def test_everything_is_measured_on_a_small_database():
    figures = measure_control_plane(60)
    assert set(figures) == set(ControlPlane.figures)
    assert all(figure > 0 for figure in figures.values()), figures
    assert Replica.objects.count() > 180, "topics were made besides"
