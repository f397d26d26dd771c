"""How often a fault is repeated: once in `make test`, as CLUSTER_ROUNDS says otherwise."""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
MANY = ROUNDS >= 10
"""True when faults are repeated often: then every kind of a fault is tried, too."""
