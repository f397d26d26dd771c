from __future__ import annotations

import pytest

from benchmarks.registry import (
    SHARED,
    STANDARD,
    UnknownWorkload,
    family_of,
    is_shared,
    make_shared_workload,
    make_workload,
    names_of,
    shape_of,
)


@pytest.mark.parametrize(
    "name", [*STANDARD, "sync_4", "http_64", "produce_batch_10", "idle_10000", "views_10000"]
)
def test_a_name_leads_to_the_workload_that_has_it(name):
    workload = make_workload(name)
    assert workload.name == name
    assert workload.summary
    assert workload.figures
    assert {target.figure for target in workload.targets} <= set(workload.figures)


@pytest.mark.parametrize("name", ["", "sync", "sync_0", "sync_01", "consume_fetch_3", "nothing_1"])
def test_other_names_are_refused(name):
    with pytest.raises(UnknownWorkload, match="there is no workload"):
        make_workload(name)


def test_a_list_is_separated_by_commas():
    assert names_of("sync_1, http_16,") == ["sync_1", "http_16"]


def test_an_empty_list_means_all():
    assert names_of("") == list(STANDARD)


def test_a_wrong_name_in_a_list_is_refused_before_anything_runs():
    with pytest.raises(UnknownWorkload):
        names_of("sync_1,sinc_1")


@pytest.mark.parametrize("name", SHARED)
def test_what_is_measured_with_peers_is_measured_alone_too(name):
    assert name in STANDARD
    assert is_shared(name)
    assert make_shared_workload(name).name == name


def test_a_workload_of_this_system_alone_is_not_for_peers():
    assert not is_shared("pop_manager")
    with pytest.raises(UnknownWorkload):
        make_shared_workload("pop_manager")


def test_the_standard_can_be_another():
    assert names_of("", SHARED) == list(SHARED)


def test_a_family_is_the_name_without_its_number():
    assert [family_of(name) for name in ("sync_16", "produce_batch", "produce_batch_10")] == [
        *("sync", "produce_batch", "produce_batch"),
    ]


def test_a_workload_has_the_cluster_that_it_needs():
    assert shape_of("tail").brokers == 4
    assert dict(shape_of("tail").settings)["QUEUE_RETENTION_INTERVAL_S"] == "1"
    assert shape_of("sync_1") == (3, ())
