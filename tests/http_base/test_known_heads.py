from __future__ import annotations

import pytest

from http_base import known_heads
from http_base.known_heads import KnownHeads, split_head

START = b"POST /produce?a=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t"
FIELDS = [(b"host", b"x"), (b"authorization", b"Bearer t")]


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


def request(body: bytes, start: bytes = START) -> bytes:
    return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (start, len(body), body)


@pytest.fixture
def heads():
    return KnownHeads()


def test_a_head_with_its_length_last_is_known_whatever_the_length(heads):
    heads.learn(request(b"abc"), [*FIELDS, length(3)], "found")
    for body in (b"abc", b"", b"x" * 2_000):
        assert heads.find(request(body)) == ("found", body)
    assert heads.find(request(b"abc", START + b"2")) is None


def test_a_head_with_its_length_elsewhere_is_known_with_that_length_alone(heads):
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\nHost: x\r\n\r\n"
    heads.learn(head % 3 + b"abc", [length(3), (b"host", b"x")], "found")
    assert heads.find(head % 3 + b"xyz") == ("found", b"xyz")
    assert heads.find(head % 2 + b"xy") is None


def test_a_head_without_a_length_has_no_body(heads):
    head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    heads.learn(head, [(b"host", b"x")], "found")
    assert heads.find(head) == ("found", b"")
    assert heads.find(head + b"GET") is None


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_body_in_parts_and_what_follows_a_body_are_for_the_parser(heads, cut):
    heads.learn(request(b"abc"), [*FIELDS, length(3)], "found")
    data = request(b"abc")
    assert heads.find(data[:-1] if cut < 0 else data + b"P") is None


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Transfer-Encoding: chunked", (b"transfer-encoding", b"chunked")),
        (b"Expect: 100-continue", (b"expect", b"100-continue")),
        (b"Connection: close", (b"connection", b"close")),
        (b"Connection: Upgrade", (b"connection", b"Upgrade")),
        (b"Upgrade: h2c", (b"upgrade", b"h2c")),
        (b"Content-Length: 3", length(3)),
        (b"X: a\r\n b", (b"x", b"a b")),  # folded
        (b"X: a\nY: b", (b"x", b"a")),  # a line that ends otherwise
    ],
)
def test_what_is_framed_in_another_way_is_not_learnt(heads, line, field):
    start = START + b"\r\n" + line
    heads.learn(request(b"abc", start), [*FIELDS, field, length(3)], "found")
    assert (len(heads), heads.find(request(b"abc", start))) == (0, None)


@pytest.mark.parametrize("digits", [b"", b"-1", b"+3", b"3_0", b" 3", b"3 ", b"999999999", b"0x3"])
def test_a_length_that_is_no_plain_number_is_for_the_parser(digits):
    assert split_head(START + b"\r\nContent-Length: " + digits + b"\r\n\r\nabc") is None


def test_a_connection_that_is_to_stay_open_is_usual(heads):
    start = START + b"\r\nConnection: Keep-Alive"
    fields = [*FIELDS, (b"connection", b"Keep-Alive"), length(3)]
    heads.learn(request(b"abc", start), fields, "found")
    assert heads.find(request(b"x", start)) == ("found", b"x")


def test_long_heads_and_beginnings_of_heads_are_not_looked_at(heads):
    assert split_head(START) is None
    assert split_head(b"\r\n\r\n") is None
    start = START + b"\r\nX: " + b"a" * known_heads.HEAD_BYTES_MAX
    assert split_head(request(b"abc", start)) is None


def test_there_is_a_limit(heads, monkeypatch):
    monkeypatch.setattr(known_heads, "HEADS_MAX", 3)
    for number in range(10):
        start = START + b"%d" % number
        heads.learn(request(b"abc", start), [*FIELDS, length(3)], number)
        assert heads.find(request(b"abc", start)) == (number, b"abc")
        assert len(heads) <= 3
