"""Milliseconds that a refusal tells its caller to wait before the next try, by what has to pass."""

from __future__ import annotations

COMMIT_MS = 50
"""A commit of what one replica has taken already, or the end of an election."""
PARTITION_MS = 100
"""Others' turns at one partition of a broker, or room among what it holds for them."""
PASSED_CALLS_MS = 200
"""Calls that a manager passes on: it has as many under way as it takes."""
STARTING_MS = 500
"""The start of a process."""
DATABASE_MS = 1_000
"""A pause of a manager's database."""
PRIMARY_MS = 1_000
"""Another manager's take-over of the lease of a primary that is gone."""
LIMIT_MS = 1_000
"""A limit of a whole process or of the cluster: others have to leave, or brokers to come."""
DISK_MS = 1_000
"""A read that a disk did not answer in its time."""
