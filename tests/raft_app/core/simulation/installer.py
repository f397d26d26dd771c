"""How a simulated process takes a snapshot in: offered, row by row, whole at last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.disk import FinishedInstall, InstalledRows, StoredState

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_app.core.types import Entry
    from tests.raft_app.core.simulation.disk import Disk
    from tests.raft_app.core.simulation.host import Host
    from tests.raft_app.core.simulation.transfers import Transfer


class Installer:
    """The receiving end of snapshots in one process.

    Attributes:
        next_offset: where the rows go on that are in place or handed to the disk.
    """

    def __init__(self, host: Host, disk: Disk) -> None:
        self._host = host
        self._current: Transfer | None = None
        self._is_replacing = disk.installing
        self._is_finishing = False
        self.next_offset = disk.install_offset

    def offer(self, transfer: Transfer) -> bool:
        """A leader offers a snapshot; tell whether it may send its rows from `next_offset` on."""
        host = self._host
        host.apply_waiting()
        if self._is_finishing:
            return False
        meta = transfer.state.meta
        wanted = host.node.offer_snapshot(transfer.sender.replica_id, transfer.term, meta)
        host.note("offered snapshot", (transfer, "wanted" if wanted else "refused"))
        if not wanted:
            return False
        self._current = transfer
        if not host.node.is_installing:
            self.next_offset = host.service.ledger.next_offset
        host.node.begin_install()
        return True

    def take(self, transfer: Transfer, rows: tuple[Entry, ...], done: Callable[[], None]) -> bool:
        """Put rows in place; False when another transfer has taken the place of this one."""
        if transfer is not self._current:
            return False
        host = self._host
        if not self._is_replacing:
            host.stream.submit(StoredState(host.service.ledger.copy()))
            self._is_replacing = True
        self.next_offset = rows[-1].base_offset + rows[-1].record_count
        host.stream.submit(InstalledRows(rows), done)
        return True

    def finish(self, transfer: Transfer, done: Callable[[], None]) -> bool:
        """All rows are in place: make the snapshot the whole state."""
        if transfer is not self._current:
            return False
        host = self._host
        state = transfer.state
        host.watch.installs(host, state)
        if not self._is_replacing:
            host.stream.submit(StoredState(host.service.ledger.copy()))
        self._is_finishing = True

        def finished() -> None:
            self._is_finishing = self._is_replacing = False
            self._current = None
            host.installed(state)
            done()

        host.stream.submit(FinishedInstall(state.meta, state.next_offset), finished)
        return True

    def lost(self, transfer: Transfer) -> None:
        """The connection of a transfer broke."""
        if transfer is self._current and not self._is_finishing:
            self._current = None
            if not self._is_replacing:
                self._host.node.abort_install()
                self._host.act()
