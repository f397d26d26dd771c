"""Where other brokers are, as managers say."""

from __future__ import annotations

from raft_app.engine.engine import take_peers
from raft_app.storage.protocol import PeerAddress


def peer(broker_id: int, port: int) -> PeerAddress:
    return PeerAddress(broker_id, f"http://h:{port}", f"h:{port + 1_000}")


def test_what_is_new_is_taken_over_and_told_once():
    known: dict[int, PeerAddress] = {}
    assert take_peers(known, [peer(1, 1), peer(2, 2)]) == (peer(1, 1), peer(2, 2))
    assert take_peers(known, [peer(2, 2)]) == ()
    assert take_peers(known, [peer(1, 3), peer(2, 2)]) == (peer(1, 3),)
    assert known == {1: peer(1, 3), 2: peer(2, 2)}


def test_nobody_is_at_the_address_of_a_later_broker_any_more():
    known = {3: peer(3, 3)}
    assert take_peers(known, [peer(4, 3)]) == (peer(4, 3),)
    assert known == {4: peer(4, 3)}
    stored = [peer(3, 3), peer(4, 3)]
    known.clear()
    take_peers(known, stored)
    assert known == {4: peer(4, 3)}
    assert take_peers(known, stored) == ()


def test_a_broker_may_take_the_address_of_one_that_is_told_of_no_more():
    known = {3: peer(3, 3), 5: peer(5, 5)}
    assert take_peers(known, [peer(3, 5)]) == (peer(3, 5),)
    assert known == {3: peer(3, 5)}


def test_what_is_no_address_keeps_nobody_else_from_being_reached():
    known: dict[int, PeerAddress] = {}
    wrong = PeerAddress(2, "http://h:2", "h:70000")
    for _ in range(2):
        take_peers(known, [wrong, peer(3, 3)])
        assert known == {3: peer(3, 3)}
