"""Every deliberate fault."""

from __future__ import annotations

from tests.mutants.access_mutants import ACCESS_MUTANTS
from tests.mutants.batch_mutants import BATCH_MUTANTS
from tests.mutants.client_mutants import CLIENT_MUTANTS
from tests.mutants.core_mutants import CORE_MUTANTS
from tests.mutants.door_mutants import DOOR_MUTANTS
from tests.mutants.engine_mutants import ENGINE_MUTANTS
from tests.mutants.queue_mutants import QUEUE_MUTANTS
from tests.mutants.replica_mutants import REPLICA_MUTANTS

MUTANTS = (
    *CORE_MUTANTS,
    *REPLICA_MUTANTS,
    *ENGINE_MUTANTS,
    *QUEUE_MUTANTS,
    *BATCH_MUTANTS,
    *CLIENT_MUTANTS,
    *DOOR_MUTANTS,
    *ACCESS_MUTANTS,
)
"""From the core outwards."""
