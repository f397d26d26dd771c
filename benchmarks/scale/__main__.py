"""The command line: `python -m benchmarks.scale --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.__main__ import end_as_interrupted
from benchmarks.cluster import ClusterFailed
from benchmarks.results import read_commit, read_machine
from benchmarks.scale.check import compare_asleep, compare_cluster, compare_manager
from benchmarks.scale.cluster_costs import measure_cluster
from benchmarks.scale.cluster_size import ClusterSize
from benchmarks.scale.costs import Growth, UnitCosts
from benchmarks.scale.model import demands, recovery
from benchmarks.scale.table import compared_lines, demand_lines, growth_lines, recovery_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.scale.check import Compared


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the unit costs, or read them, and print the model; 1 when a cluster failed."""
    chosen = _parser().parse_args(arguments)
    shape = ClusterSize(
        brokers=chosen.brokers,
        partitions=chosen.partitions,
        topic_partitions=min(chosen.topic_partitions, chosen.partitions),
        racks=chosen.racks,
        clients=chosen.clients,
        members=chosen.members,
        messages_per_second=chosen.messages,
    )
    with tempfile.TemporaryDirectory(prefix="queuesite-scale-") as made:
        directory = Path(made)
        try:
            costs, growths = _costs(chosen.costs, directory)
        except ClusterFailed as error:
            print(error, file=sys.stderr)
            return 1
        _print_model(shape, costs, growths)
        if chosen.check_manager:
            compared = _manager(shape, costs, directory)
            _show("beside a manager's work at this size", compared_lines(compared))
        for compare, sizes, kind in (
            (compare_cluster, chosen.check, "idle"),
            (compare_asleep, chosen.check_asleep, "sleeping"),
        ):
            for size in filter(None, sizes.split(",")):
                title = f"beside three brokers with {int(size):,} {kind} partitions"
                _tell(f"{title} ...")
                place = directory / f"{kind}-{size}"
                place.mkdir()
                _show(title, compared_lines(list(compare(int(size), costs, place))))
    return 0


def _costs(kept: Path | None, directory: Path) -> tuple[UnitCosts, list[Growth]]:
    """Return the unit costs in a file; measured and written there when it does not exist."""
    if kept is not None and kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=tuple[UnitCosts, list[Growth]])
    _tell("a manager's work on its database ...")
    set_up(directory)
    from benchmarks.scale.manager_costs import measure_manager

    manager, growths = measure_manager()
    _tell("processes of a cluster ...")
    place = directory / "cluster"
    place.mkdir()
    measured = UnitCosts(manager=manager, cluster=measure_cluster(place))
    if kept is not None:
        kept.write_bytes(msgspec.json.encode((measured, growths)))
    return measured, growths


def set_up(directory: Path) -> None:
    """Let Django use a database in a directory, or the empty one that QUEUE_DATABASE_URL names."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        os.environ["QUEUE_ROLE"] = "test"
        os.environ.setdefault("QUEUE_DATABASE_URL", f"sqlite:///{directory / 'manager.sqlite3'}")
        os.environ["DJANGO_SETTINGS_MODULE"] = "queuesite.settings"
    import django

    django.setup()


def _manager(shape: ClusterSize, costs: UnitCosts, directory: Path) -> list[Compared]:
    _tell(f"a manager's work with {shape.partitions:,} partitions ...")
    set_up(directory)
    from benchmarks.scale.manager_costs import measure_shape, sizes_of

    return list(compare_manager(costs, sizes_of(shape), measure_shape(shape)))


def _print_model(shape: ClusterSize, costs: UnitCosts, growths: Sequence[Growth]) -> None:
    machine = read_machine()
    print(
        f"{machine.processor}, {machine.cores} cores, {machine.system}, Python {machine.python};"
        f" commit {read_commit()[:12]}; database {costs.manager.database}"
    )
    print(
        f"{shape.brokers} brokers, {shape.partitions:,} partitions of {shape.replication_factor}"
        f" replicas, {shape.clients:,} clients, {shape.messages_per_second:,.0f} messages/s"
    )
    _show("what is needed, of what there is", demand_lines(demands(shape, costs)))
    lost = [("a broker", recovery(shape, costs, 1))]
    if 1 < shape.brokers_per_rack < shape.brokers:
        rack = recovery(shape, costs, shape.brokers_per_rack)
        lost.append((f"a rack of {shape.racks}", rack))
    _show("after a loss", recovery_lines(lost))
    _show("how a manager's costs grow", growth_lines(growths))


def _show(title: str, lines: Iterable[str]) -> None:
    print(f"\n{title}\n")
    for line in lines:
        print(line)
    sys.stdout.flush()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    size = ClusterSize()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description="Say what a large cluster needs, from unit costs measured on this machine.",
    )
    parser.add_argument("--brokers", type=int, default=size.brokers)
    parser.add_argument("--partitions", type=int, default=size.partitions)
    parser.add_argument("--topic-partitions", type=int, default=size.topic_partitions)
    parser.add_argument("--racks", type=int, default=size.racks)
    parser.add_argument("--clients", type=int, default=size.clients)
    parser.add_argument("--members", type=int, default=size.members)
    parser.add_argument("--messages", type=float, default=size.messages_per_second,
                        help="produced in a second, one at a time")  # fmt: skip
    parser.add_argument("--costs", type=Path, help="a file that keeps the unit costs")
    parser.add_argument("--check", default="", help="clusters of three with so many partitions"
                        " are started and compared, such as 100,1000")  # fmt: skip
    parser.add_argument("--check-asleep", default="", help="the same with partitions that sleep")
    parser.add_argument("--check-manager", action="store_true", help="a database of the whole size"
                        " is made and the manager's work on it compared")  # fmt: skip
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end_as_interrupted)
    sys.exit(main())
