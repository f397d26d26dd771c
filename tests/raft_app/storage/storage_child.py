"""A process that stores entries and prints the index of each that it may acknowledge."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.django_process import set_up


def main(directory: str) -> None:
    """Write until killed: two groups per transaction, a suffix replaced now and then."""
    set_up()
    from raft_app.core.types import HardState
    from raft_app.storage.sqlite.storage import SqliteStorage
    from tests.raft_app.storage.storage_harness import append, create, data_entry

    storage = SqliteStorage(Path(directory), wal_limit_bytes=256 << 10)
    storage.open()
    storage.write([create(1), create(2)])
    term = 1
    for index in range(1, 1 << 30):
        state = HardState(term, 1, index - 1)
        batch = data_entry(index, term=term, data=b"%d" % index * 200)
        storage.write([append(batch, group_id=group_id, hard_state=state) for group_id in (1, 2)])
        if index % 10 == 0:
            term += 1
            storage.write(
                [
                    append(
                        data_entry(index, term=term),
                        group_id=2,
                        hard_state=HardState(term, 2, index - 1),
                    ),
                    append(group_id=1, hard_state=HardState(term, 2, index - 1)),
                ]
            )
        os.write(1, b"%d %d\n" % (index, term))


if __name__ == "__main__":
    main(sys.argv[1])
