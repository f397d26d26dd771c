"""Both sides prove that they know the secret, or there is no connection."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.transport.frames import FrameError, FrameKind, FrameReader, encode_frame
from raft_app.transport.handshake import (
    CHALLENGE_BYTES,
    MAX_CLUSTER_ID_BYTES,
    MAX_HANDSHAKE_FRAME_BYTES,
    PROTOCOL_VERSION,
    AcceptorHandshake,
    DialerHandshake,
    HandshakeError,
    Identity,
    Purpose,
)

SECRET = b"s" * 32


def identity(broker_id: int, *, cluster_id: str = "c1", secret: bytes = SECRET) -> Identity:
    return Identity(cluster_id, broker_id, secret)


def challenge(number: int) -> bytes:
    return bytes([number]) * CHALLENGE_BYTES


def dialer(broker_id: int = 1, expected: int = 2, **facts) -> DialerHandshake:
    return DialerHandshake(identity(broker_id, **facts), expected, challenge(1))


def acceptor(broker_id: int = 2, number: int = 2, **facts) -> AcceptorHandshake:
    return AcceptorHandshake(identity(broker_id, **facts), challenge(number))


def frame(data: bytes):
    [only] = FrameReader(MAX_HANDSHAKE_FRAME_BYTES).feed(data)
    return only


def packed(kind: FrameKind, body: object, **header: int) -> bytes:
    parts = (msgspec.msgpack.encode(body),)
    return b"".join(encode_frame(kind, parts, **header).buffers)


def shake(one: DialerHandshake, two: AcceptorHandshake) -> None:
    answer = two.receive(frame(one.start()))
    answer = one.receive(frame(answer))
    answer = two.receive(frame(answer))
    assert one.receive(frame(answer)) == b""


def test_both_sides_know_each_other_after_four_frames():
    one, two = dialer(), acceptor()
    shake(one, two)
    assert one.done
    assert two.done
    assert (one.peer_broker_id, two.peer_broker_id) == (2, 1)


def test_the_acceptor_is_done_only_after_the_proof():
    one, two = dialer(), acceptor()
    proof = one.receive(frame(two.receive(frame(one.start()))))
    assert not two.done
    assert not one.done
    two.receive(frame(proof))
    assert two.done
    assert not one.done


def refusal(one: DialerHandshake, two: AcceptorHandshake) -> str:
    with pytest.raises(HandshakeError) as caught:
        shake(one, two)
    return caught.value.reason


def test_another_secret_is_refused_by_the_acceptor():
    two = acceptor()
    assert refusal(dialer(secret=b"other"), two) == "secret"
    assert not two.done


def test_an_acceptor_without_the_secret_is_refused_by_the_dialer():
    one, two = dialer(), acceptor()
    one.receive(frame(two.receive(frame(one.start()))))
    with pytest.raises(HandshakeError) as caught:
        one.receive(frame(packed(FrameKind.ACCEPTED, [bytes(32)])))
    assert caught.value.reason == "secret"
    assert not one.done


def test_another_cluster_is_refused():
    assert refusal(dialer(cluster_id="c2"), acceptor()) == "cluster_id"


def test_a_dialer_that_looks_for_another_broker_is_refused():
    assert refusal(dialer(expected=3), acceptor()) == "broker_id"


def test_a_dialer_with_the_own_broker_id_is_refused():
    assert refusal(dialer(broker_id=2), acceptor()) == "broker_id"


def test_an_answer_from_another_broker_is_refused():
    one = dialer()
    stranger = packed(FrameKind.CHALLENGE, [PROTOCOL_VERSION, "c1", 3, 1, challenge(3)])
    with pytest.raises(HandshakeError) as caught:
        one.receive(frame(stranger))
    assert caught.value.reason == "broker_id"


def later_hello(*, oldest: int) -> bytes:
    """Return the greeting of a broker of a later version, with fields that only it knows."""
    return packed(
        FrameKind.HELLO,
        [PROTOCOL_VERSION + 2, "c1", 1, 2, challenge(1), Purpose.RPCS, oldest, "of later versions"],
    )


def test_a_later_version_is_spoken_to_in_the_newest_version_that_both_know():
    later, two = dialer(), acceptor()
    answer = frame(two.receive(frame(later_hello(oldest=PROTOCOL_VERSION))))
    assert msgspec.msgpack.decode(answer.body)[0] == PROTOCOL_VERSION
    two.receive(frame(later.receive(answer)))
    assert two.done
    assert two.peer_broker_id == 1


def test_a_later_version_that_has_left_this_one_behind_is_refused():
    with pytest.raises(HandshakeError, match="another version of the program") as caught:
        acceptor().receive(frame(later_hello(oldest=PROTOCOL_VERSION + 1)))
    assert caught.value.reason == "protocol_version"


@pytest.mark.parametrize("version", [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1])
def test_another_protocol_version_is_refused(version):
    hello = packed(FrameKind.HELLO, [version, "c1", 1, 2, challenge(1)])
    with pytest.raises(HandshakeError) as caught:
        acceptor().receive(frame(hello))
    assert caught.value.reason == "protocol_version"


def test_a_recorded_handshake_is_of_no_use_later():
    one, two = dialer(), acceptor()
    hello = one.start()
    proof = one.receive(frame(two.receive(frame(hello))))
    later = acceptor(number=9)
    later.receive(frame(hello))
    with pytest.raises(HandshakeError) as caught:
        later.receive(frame(proof))
    assert caught.value.reason == "secret"


def test_a_proof_sent_back_is_refused():
    one, two = dialer(), acceptor()
    proof = one.receive(frame(two.receive(frame(one.start()))))
    reflected = bytes(msgspec.msgpack.decode(frame(proof).body)[0])
    with pytest.raises(HandshakeError) as caught:
        one.receive(frame(packed(FrameKind.ACCEPTED, [reflected])))
    assert caught.value.reason == "secret"


def test_the_proof_of_one_direction_does_not_serve_the_other():
    """A stranger, dialled by broker 1, hands it the challenge that broker 1 gave the stranger."""
    dialling, accepting = DialerHandshake(identity(1), 2, challenge(6)), acceptor(1, number=5)
    hello = packed(FrameKind.HELLO, [PROTOCOL_VERSION, "c1", 2, 1, challenge(6)])
    own_challenge = msgspec.msgpack.decode(frame(accepting.receive(frame(hello))).body)[4]
    stolen = dialling.receive(
        frame(packed(FrameKind.CHALLENGE, [PROTOCOL_VERSION, "c1", 2, 1, own_challenge]))
    )
    with pytest.raises(HandshakeError) as caught:
        accepting.receive(frame(stolen))
    assert caught.value.reason == "secret"


def test_a_stranger_learns_nothing_made_with_the_secret():
    two, other = acceptor(), acceptor(secret=b"other")
    hello = dialer().start()
    assert two.receive(frame(hello)) == other.receive(frame(hello))


@pytest.mark.parametrize("kind", [kind for kind in FrameKind if kind is not FrameKind.HELLO])
def test_only_a_hello_opens(kind):
    with pytest.raises(FrameError):
        acceptor().receive(frame(packed(kind, [1])))


def test_a_frame_after_the_end_is_refused():
    one, two = dialer(), acceptor()
    shake(one, two)
    for side in (one, two):
        with pytest.raises(FrameError):
            side.receive(frame(one.start()))


def test_a_header_with_group_or_sender_is_refused():
    body = [PROTOCOL_VERSION, "c1", 1, 2, challenge(1)]
    for header in ({"group_id": 1}, {"sender": 1}):
        with pytest.raises(FrameError):
            acceptor().receive(frame(packed(FrameKind.HELLO, body, **header)))


WRONG = {0: [-1, "1", None], 1: [b"c1", 1], 2: [0, -1, "1"], 3: [0, None], 4: [b"", bytes(31), ""]}


@pytest.mark.parametrize(
    ("position", "value"), [(place, value) for place, all_ in WRONG.items() for value in all_]
)
def test_a_malformed_greeting_is_refused(position, value):
    body = [PROTOCOL_VERSION, "c1", 1, 2, challenge(1)]
    body[position] = value
    with pytest.raises(FrameError):
        acceptor().receive(frame(packed(FrameKind.HELLO, body)))


@given(st.sampled_from([FrameKind.HELLO, FrameKind.PROOF]), st.binary(max_size=120))
def test_random_bodies_are_refused(kind, body):
    two = acceptor()
    if kind is FrameKind.PROOF:
        two.receive(frame(dialer().start()))
    with pytest.raises(FrameError):
        two.receive(frame(b"".join(encode_frame(kind, (body,)).buffers)))
    assert not two.done


def test_bad_utf_8_is_refused():
    body = msgspec.msgpack.encode([PROTOCOL_VERSION, "c1", 1, 2, challenge(1)])
    bad = body.replace(b"\xa2c1", b"\xa2\xff\xff")
    with pytest.raises(FrameError):
        acceptor().receive(frame(b"".join(encode_frame(FrameKind.HELLO, (bad,)).buffers)))


def test_the_longest_greeting_fits_the_limit():
    longest = "x" * MAX_CLUSTER_ID_BYTES
    one = DialerHandshake(identity(1 << 62, cluster_id=longest), 1 << 61, challenge(1))
    two = AcceptorHandshake(identity(1 << 61, cluster_id=longest), challenge(2))
    shake(one, two)
    assert two.done


@pytest.mark.parametrize(
    ("cluster_id", "broker_id", "secret"),
    [("", 1, SECRET), ("c", 0, SECRET), ("c", 1, b""), ("x" * 257, 1, SECRET)],
)
def test_an_impossible_identity_refuses_to_exist(cluster_id, broker_id, secret):
    with pytest.raises(ValueError, match=r"."):
        Identity(cluster_id, broker_id, secret)


def test_an_identity_does_not_show_the_secret():
    assert "sss" not in repr(identity(1))
