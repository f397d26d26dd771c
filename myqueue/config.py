"""Settings of the client: one validated value, every field with its unit and trade-off."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import check_fields

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Compression = Literal["none", "zstd"]
TokenText = Annotated[str, Meta(max_length=1_024, pattern=r"^[!-~]*\Z")]
RETRY_JITTER = 0.5
"""Share of the pause between two tries that chance decides."""


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """How patient, how eager and how large the client is.

    Raises:
        InvalidRequest: a value is impossible; the field is named.
    """

    token: TokenText = field(default="", repr=False)
    """API token of a cluster that asks who calls; empty: that of MYQUEUE_TOKEN, if it is set."""
    delivery_timeout_ms: Positive = 120_000
    """Longest time from a call to its acknowledgement, all retries included."""
    manager_timeout_ms: Positive = 5_000
    """Longest time to look for a manager that answers; short, so that a wrong address shows."""
    request_timeout_ms: Positive = 5_000
    """How long a server may wait for a quorum before it answers COMMIT_TIMEOUT."""
    connect_timeout_ms: Positive = 1_000
    """Longest time for a connection: the address of a name, TCP and TLS."""
    answer_margin_ms: Positive = 2_000
    """Added to what a server may take; after that the answer counts as lost."""
    leader_patience_ms: Positive = 1_000
    """Silence of a leader after which other replicas are asked who leads; about an election."""
    retry_backoff_ms: Positive = 20
    """First pause between two tries; doubles up to the maximum, with jitter."""
    retry_backoff_max_ms: Positive = 1_000
    avoid_ms: Positive = 1_000
    """First pause for a broker that could not be reached; doubles up to 32 times this."""
    metadata_max_age_ms: Positive = 300_000
    """After this a topic's partitions are asked for again, so that new ones are seen."""
    heartbeat_interval_ms: Positive = 15_000
    """Below a quarter of the 60 s after which a manager takes a client for dead."""
    token_max_age_ms: Positive = 86_400_000
    """A token older than this is renewed by the next heartbeat; it is valid for 30 days."""
    ca: str = ""
    """File of the authorities, in PEM, that `https://` addresses are checked with; when empty
    MYQUEUE_CA of the environment, else those of the system."""
    compression: Compression = "none"
    """none or zstd (needs the package `zstandard`): smaller requests and disks for time here."""
    buffer_bytes: Positive = 32 << 20
    """What a producer may hold that is not acknowledged before it blocks: values, keys, headers."""
    max_block_ms: NotNegative = 60_000
    """How long a call waits for room in the buffer before it raises BufferFull; 0 does not."""
    batch_messages: Positive = 1_000
    """Most messages that are joined into one batch."""
    batch_bytes: Positive = 512 << 10
    """Most bytes of messages in such a batch; a single larger message goes alone."""
    prefetch_messages: Positive = 500
    """Messages that iteration takes from a partition at once; it does so one request ahead."""
    exit_timeout_ms: Positive = 10_000
    """Longest time that the end of a program waits for what a producer that was not closed holds;
    what is left then is named on stderr."""
    close_timeout_ms: Positive = 10_000
    """Longest time for `close` of a consumer to give back what was taken in advance."""
    auto_commit_interval_ms: Positive = 5_000
    """How often a member of a group commits what the program is done with."""
    long_poll_ms: Positive = 10_000
    """Longest wait of one request; longer waits are several requests."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.retry_backoff_ms > self.retry_backoff_max_ms:
            raise InvalidRequest(
                "retry_backoff_ms must not be above retry_backoff_max_ms", field="retry_backoff_ms"
            )

    @cached_property
    def retry_backoff(self) -> Backoff:
        """The pauses between two tries."""
        return Backoff(self.retry_backoff_ms / 1000, self.retry_backoff_max_ms / 1000, RETRY_JITTER)
