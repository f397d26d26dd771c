"""What a manager was told of the replicas, so that the next report carries what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

if TYPE_CHECKING:
    from http_base.cluster import BrokerOrders, BrokerReport, ReplicaReport

FOLLOWING_MAX = 20
"""Reports of changes alone between two full ones: whatever else a manager may have lost comes back
after some minutes."""


class ReportMemory:
    """What a manager was told of the replicas, so that reports carry what changed since.

    A report follows the one before where nothing else is to be said: the manager has that, all
    orders were carried out, and the metadata has not changed since. Otherwise it is full.
    """

    def __init__(self, first_number: int) -> None:
        """Remember nothing yet.

        Args:
            first_number: random, so that it is no number of an earlier process.
        """
        self._number = first_number
        self._taken = 0
        """Number of the last report that a manager has; 0 for none."""
        self._now: dict[int, ReplicaReport] = {}
        """By group id, all replicas as they were last reported here."""
        self._untold: set[int] = set()
        """Groups whose replicas are another, or gone, since the last report that was taken."""
        self._followed = 0
        """Reports since the last full one."""
        self._carried_out = 0
        self._seen_version = 0

    def next_report(self, report: BrokerReport) -> BrokerReport:
        """Return what to send, in full or as what follows.

        Args:
            report: has the replicas that may have changed since the last call, and what is gone.
        """
        self._number += 1
        self._take(report)
        may_follow = self._taken and self._carried_out == self._seen_version
        if not may_follow or self._followed >= FOLLOWING_MAX:
            self._followed = 0
            return structs.replace(
                report, number=self._number, gone=[], replicas=list(self._now.values())
            )
        self._followed += 1
        return structs.replace(
            report,
            full=False,
            number=self._number,
            follows=self._taken,
            metadata_version=self._carried_out,
            gone=sorted(self._untold - self._now.keys()),
            replicas=[self._now[one] for one in sorted(self._untold & self._now.keys())],
        )

    def _take(self, report: BrokerReport) -> None:
        """Note what is new in a report."""
        for one in report.replicas:
            if self._now.get(one.group_id) != one:
                self._now[one.group_id] = one
                self._untold.add(one.group_id)
        for group_id in report.gone:
            if self._now.pop(group_id, None) is not None:
                self._untold.add(group_id)

    def answered(self, report: BrokerReport, orders: BrokerOrders) -> bool:
        """Note a manager's answer; return whether it wants a full report at once.

        Args:
            report: as it was sent.
            orders: the answer.
        """
        self._seen_version = orders.metadata_version
        if not report.number:
            return False
        is_taken = orders.taken == report.number
        self._taken = report.number if is_taken else 0
        self._untold.clear()  # Where it was not taken, the next report is full.
        return not is_taken and not report.full

    def carried_out(self, orders: BrokerOrders) -> None:
        """Note that the orders that answered a full report were carried out whole."""
        self._carried_out = orders.metadata_version
