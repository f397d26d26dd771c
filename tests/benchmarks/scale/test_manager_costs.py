from __future__ import annotations

import pytest

from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.manager_costs import measure_shape, sizes_of
from manager_app.models import Partition

TINY = ClusterSize(brokers=10, partitions=40, topic_partitions=20, clients=30, members=0, racks=2)


@pytest.mark.django_db
def test_every_cost_is_measured_on_the_services_themselves():
    measured = measure_shape(TINY)
    assert set(measured) == set(sizes_of(TINY))
    assert all(cost > 0 for cost in measured.values()), measured
    assert Partition.objects.count() == TINY.partitions, "repairs were taken back"
