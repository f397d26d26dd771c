"""The lease epoch of a directory, in both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_app.storage.protocol import BrokerIdentity, SaveIdentity, StorageError

if TYPE_CHECKING:
    from tests.raft_app.storage.storage_harness import Disk


def test_lease_epoch_is_kept_and_never_goes_back(disk: Disk) -> None:
    disk.storage.close()
    incarnation = disk.storage.open().incarnation
    for epoch in (3, 5, 5):
        disk.storage.write([SaveIdentity(BrokerIdentity(incarnation, 4, "c1", epoch=epoch))])
    with pytest.raises(StorageError, match="epoch 4"):
        disk.storage.write([SaveIdentity(BrokerIdentity(incarnation, 4, "c1", epoch=4))])
    disk.storage.close()
    assert disk.storage.open().epoch == 5
