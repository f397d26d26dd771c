"""The handshake of a connection, without any I/O: who are you, and do you know the secret?

    dialer                                  acceptor
      HELLO      greeting                ->
              <- CHALLENGE  greeting
      PROOF      HMAC as "dialer"        ->
              <- ACCEPTED   HMAC as "acceptor"

A greeting names the protocol version, the cluster, the own and the expected broker id, a random
challenge, and what the connection is for; later versions may add fields, the first of them the
oldest version that they speak, too. Both speak the newest version that both know, so that brokers
are upgraded one after the other. Each HMAC-SHA256 with the cluster's secret covers its
role, both ids, both challenges and the purpose, so that a proof neither serves the other direction
nor another connection. The dialer proves itself first: a stranger who dials learns nothing made
with the secret. It and what follows are encrypted where the processes have certificates, and only
there: the handshake runs inside TLS.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, NoReturn, Protocol, TypeVar

import msgspec
from msgspec import Meta
from msgspec.msgpack import Decoder, Encoder

from raft_app.transport.frames import Frame, FrameError, FrameKind, encode_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOL_VERSION = 2
OLDEST_PROTOCOL_VERSION = 2
"""What this side still speaks with brokers that were not upgraded yet."""
CHALLENGE_BYTES = 32
MAX_CLUSTER_ID_BYTES = 256
MAX_HANDSHAKE_FRAME_BYTES = 1_024
"""All that a stranger can make this side buffer."""

_Body = TypeVar("_Body")


class Purpose(IntEnum):
    """What a connection is for; the dialer says it. The numbers are sent: never reuse one."""

    RPCS = 0
    """RPCs of all groups, from the dialer to the acceptor."""
    SNAPSHOT = 1
    """One snapshot of one group, from the dialer to the acceptor, which answers."""


class HandshakeError(FrameError):
    """The other side is not who it should be.

    `reason` is one of `protocol_version`, `cluster_id`, `broker_id`, `secret`, `unexpected_frame`.
    """


@dataclass(frozen=True, slots=True)
class Identity:
    """What this broker is known by to its peers."""

    cluster_id: str
    broker_id: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.broker_id <= 0:
            raise ValueError(f"broker ids are positive, not {self.broker_id}")
        if not 0 < len(self.cluster_id.encode()) <= MAX_CLUSTER_ID_BYTES:
            raise ValueError(f"cluster_id has 1 to {MAX_CLUSTER_ID_BYTES} bytes")
        if not self.secret:
            raise ValueError("the cluster's secret is empty")


class _Greeting(msgspec.Struct, frozen=True, array_like=True):
    protocol_version: Annotated[int, Meta(ge=0)]
    cluster_id: str
    broker_id: Annotated[int, Meta(ge=1)]
    expected_broker_id: Annotated[int, Meta(ge=1)]
    challenge: Annotated[bytes, Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]
    purpose: Purpose = Purpose.RPCS
    oldest_version: Annotated[int, Meta(ge=0)] = 0
    """What the sender speaks too; 0 for `protocol_version` alone."""


_encode = Encoder().encode
_GREETING = Decoder(_Greeting)
_PROOF = Decoder(tuple[bytes])


class Handshake(Protocol):
    """One side of one handshake."""

    peer_broker_id: int
    """Who is at the other end: claimed until `done`, then proven. 0 while nobody said."""
    purpose: Purpose
    """What the connection is for; the acceptor knows it when it is `done`."""
    done: bool

    def start(self) -> bytes:
        """Return what to send when the connection is made."""

    def receive(self, frame: Frame) -> bytes:
        """Take a frame and return what to send in answer.

        Raises:
            FrameError: the connection must be closed.
        """


class DialerHandshake:
    """The side that made the connection and knows whom it wants to reach."""

    def __init__(
        self,
        identity: Identity,
        expected_broker_id: int,
        challenge: bytes,
        purpose: Purpose = Purpose.RPCS,
    ) -> None:
        """Prepare; `challenge` is `CHALLENGE_BYTES` random bytes, never used before."""
        self.peer_broker_id = expected_broker_id
        self.purpose = purpose
        self.done = False
        self._identity = identity
        self._challenge = challenge
        self._proofs: _Proofs | None = None

    def start(self) -> bytes:
        """Return the HELLO frame."""
        return _frame(
            FrameKind.HELLO,
            _claim(self._identity, self.peer_broker_id, self._challenge, self.purpose),
        )

    def receive(self, frame: Frame) -> bytes:
        """Take CHALLENGE and return PROOF; take ACCEPTED and be done."""
        if self.done:
            _unexpected(frame)
        if self._proofs is None:
            return self._receive_challenge(frame)
        _check_proof(frame, FrameKind.ACCEPTED, self._proofs.acceptor)
        self.done = True
        return b""

    def _receive_challenge(self, frame: Frame) -> bytes:
        greeting, version = _read_greeting(frame, FrameKind.CHALLENGE, self._identity)
        if greeting.broker_id != self.peer_broker_id:
            raise HandshakeError(
                "broker_id",
                f"broker {greeting.broker_id} answers where {self.peer_broker_id} should",
            )
        self._proofs = _Proofs.make(
            self._identity,
            ids=(self._identity.broker_id, self.peer_broker_id),
            challenges=(self._challenge, greeting.challenge),
            purpose=self.purpose,
            version=version,
        )
        return _frame(FrameKind.PROOF, (self._proofs.dialer,))


class AcceptorHandshake:
    """The side that was dialled and learns by whom."""

    def __init__(self, identity: Identity, challenge: bytes) -> None:
        """Prepare; `challenge` is `CHALLENGE_BYTES` random bytes, never used before."""
        self.peer_broker_id = 0
        self.purpose = Purpose.RPCS
        self.done = False
        self._identity = identity
        self._challenge = challenge
        self._proofs: _Proofs | None = None

    def start(self) -> bytes:
        """Return nothing: the dialer speaks first."""
        return b""

    def receive(self, frame: Frame) -> bytes:
        """Take HELLO and return CHALLENGE; take PROOF, return ACCEPTED and be done."""
        if self.done:
            _unexpected(frame)
        if self._proofs is None:
            return self._receive_hello(frame)
        _check_proof(frame, FrameKind.PROOF, self._proofs.dialer)
        self.done = True
        return _frame(FrameKind.ACCEPTED, (self._proofs.acceptor,))

    def _receive_hello(self, frame: Frame) -> bytes:
        greeting, version = _read_greeting(frame, FrameKind.HELLO, self._identity)
        self.peer_broker_id = greeting.broker_id
        self.purpose = greeting.purpose
        self._proofs = _Proofs.make(
            self._identity,
            ids=(greeting.broker_id, self._identity.broker_id),
            challenges=(greeting.challenge, self._challenge),
            purpose=self.purpose,
            version=version,
        )
        return _frame(
            FrameKind.CHALLENGE,
            _claim(self._identity, greeting.broker_id, self._challenge, self.purpose),
        )


@dataclass(frozen=True, slots=True)
class _Proofs:
    """What each side of one connection must say; made by both."""

    dialer: bytes
    acceptor: bytes

    @classmethod
    def make(
        cls,
        identity: Identity,
        *,
        ids: tuple[int, int],
        challenges: tuple[bytes, bytes],
        purpose: Purpose,
        version: int,
    ) -> _Proofs:
        """Compute both; `ids` and `challenges` are the dialer's, then the acceptor's.

        `version` is the one that both speak.
        """

        def proof(role: str) -> bytes:
            claim = (role, version, identity.cluster_id, *ids, *challenges, purpose)
            return hmac.digest(identity.secret, _encode(claim), "sha256")

        return cls(dialer=proof("dialer"), acceptor=proof("acceptor"))


def _frame(kind: FrameKind, body: Sequence[object]) -> bytes:
    return b"".join(encode_frame(kind, (_encode(body),)).buffers)


def _claim(
    identity: Identity, expected: int, challenge: bytes, purpose: Purpose
) -> tuple[object, ...]:
    """Return the fields of a greeting."""
    own = (PROTOCOL_VERSION, identity.cluster_id, identity.broker_id)
    return (*own, expected, challenge, purpose)


def _unexpected(frame: Frame) -> NoReturn:
    raise HandshakeError("unexpected_frame", f"{frame.kind.name} during the handshake")


def _read(frame: Frame, kind: FrameKind, decoder: Decoder[_Body]) -> _Body:
    if frame.kind is not kind or frame.group_id or frame.sender:
        _unexpected(frame)
    try:
        return decoder.decode(frame.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameError("body", f"{kind.name}: {error}") from error


def _read_greeting(frame: Frame, kind: FrameKind, identity: Identity) -> tuple[_Greeting, int]:
    """Return a greeting, and the protocol version that both sides speak.

    Raises:
        HandshakeError: there is none, or it is somebody else.
    """
    greeting = _read(frame, kind, _GREETING)
    newest = greeting.protocol_version
    version = min(newest, PROTOCOL_VERSION)
    if version < max(OLDEST_PROTOCOL_VERSION, greeting.oldest_version or newest):
        raise HandshakeError(
            "protocol_version",
            f"protocol version {greeting.oldest_version or newest} to {newest}, not"
            f" {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}: it runs another version of the"
            " program, which cannot work beside this one",
        )
    if greeting.cluster_id != identity.cluster_id:
        raise HandshakeError("cluster_id", f"belongs to cluster {greeting.cluster_id[:80]!r}")
    if greeting.expected_broker_id != identity.broker_id:
        raise HandshakeError(
            "broker_id",
            f"looks for broker {greeting.expected_broker_id}, this is {identity.broker_id}",
        )
    if greeting.broker_id == identity.broker_id:
        raise HandshakeError("broker_id", f"also calls itself broker {identity.broker_id}")
    return greeting, version


def _check_proof(frame: Frame, kind: FrameKind, expected: bytes) -> None:
    (proof,) = _read(frame, kind, _PROOF)
    if not hmac.compare_digest(proof, expected):
        raise HandshakeError("secret", "does not know the cluster's secret")
