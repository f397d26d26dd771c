"""`python -m tests.raft_app.failpoints DIRECTORY LIFE`: print how often it was killed, by point."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.django_process import set_up


def main(directory: Path, name: str) -> None:
    set_up()
    from tests.raft_app.failpoints import engine_lives, storage_lives, votes
    from tests.raft_app.failpoints.lives import examine

    if name == "vote":
        found = votes.killed_before_votes_leave(directory)
    else:
        module = engine_lives if name == "Group" else storage_lives
        found = examine(getattr(module, name)(), directory)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
