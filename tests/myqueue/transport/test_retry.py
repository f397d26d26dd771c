from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    BY_CODE,
    BrokerUnreachable,
    ClientExpired,
    CommitTimeout,
    DeliveryTimeout,
    NoLeader,
    NotLeader,
    Overloaded,
    QueueError,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.transport.retry import (
    REDIRECTS_IN_A_ROW_MAX,
    Attempts,
    Decision,
    RetryAction,
    leader_address,
)

CONFIG = ClientConfig(retry_backoff_ms=20, retry_backoff_max_ms=1_000)
LED = NotLeader("x", leader={"broker_id": 2, "address": "http://b"})


def attempts(deadline_s: float = 1e9) -> Attempts:
    return Attempts(CONFIG, deadline_s=deadline_s)


@pytest.mark.parametrize("cls", sorted(set(BY_CODE.values()), key=lambda cls: cls.code))
def test_the_class_of_an_error_decides(cls: type[QueueError]) -> None:
    step = attempts().failed(cls("x"), now_s=0, jitter=0).step
    if issubclass(cls, UnauthorizedException):
        assert step is RetryAction.REATTACH
    else:
        assert step is (RetryAction.AGAIN if cls.retriable else RetryAction.STOP)


def test_pauses_double_up_to_the_maximum() -> None:
    tries = attempts()
    delays = [tries.failed(NoLeader(), now_s=0, jitter=1.0).delay_s for _ in range(8)]
    assert delays == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 60))
def test_jitter_takes_at_most_half(jitter: float, earlier: int) -> None:
    tries = attempts()
    for _ in range(earlier):
        tries.failed(NoLeader(), now_s=0, jitter=0.5)
    delay_s = tries.failed(NoLeader(), now_s=0, jitter=jitter).delay_s
    whole_s = min(1.0, 0.02 * 2**earlier)
    assert whole_s / 2 <= delay_s <= whole_s


def test_a_server_may_ask_for_a_longer_pause() -> None:
    error = Overloaded("x", retry_after_ms=5_000)
    assert attempts().failed(error, now_s=0, jitter=0) == Decision(RetryAction.AGAIN, 5.0)


@pytest.mark.parametrize("error", [LED, BrokerUnreachable("x")])
def test_redirects_are_followed_at_once_but_not_for_ever(error: QueueError) -> None:
    tries = attempts()
    delays = [tries.failed(error, now_s=0, jitter=0).delay_s for _ in range(12)]
    assert [index for index, delay_s in enumerate(delays) if delay_s] == [
        REDIRECTS_IN_A_ROW_MAX,
        2 * REDIRECTS_IN_A_ROW_MAX + 1,
    ]


def test_time_runs_out() -> None:
    tries = attempts(deadline_s=10.0)
    assert tries.failed(NoLeader(), now_s=9.0, jitter=0).step is RetryAction.AGAIN
    assert tries.failed(NoLeader(), now_s=9.999, jitter=0).step is RetryAction.STOP
    assert tries.expired


def test_an_unknown_outcome_stays_unknown() -> None:
    tries = attempts(deadline_s=1.0)
    tries.failed(CommitTimeout(), now_s=0, jitter=0)
    tries.failed(NoLeader("elects"), now_s=2, jitter=0)
    verdict = tries.verdict(NoLeader("elects"))
    assert isinstance(verdict, NoLeader)
    assert not verdict.outcome_known
    delivery = tries.delivery_verdict(NoLeader("elects"))
    assert isinstance(delivery, DeliveryTimeout)
    assert not delivery.outcome_known
    assert delivery.details["last_code"] == "NO_LEADER"


def test_a_known_outcome_is_told_as_it_is() -> None:
    tries = attempts(deadline_s=1.0)
    error = TopicDoesNotExist("x")
    assert tries.failed(error, now_s=0, jitter=0).step is RetryAction.STOP
    assert tries.verdict(error) is tries.delivery_verdict(error) is error


def test_unauthorized_is_cured_once_and_expiry_a_few_times() -> None:
    tries = attempts()
    steps = [tries.failed(UnauthorizedException(), now_s=0, jitter=0).step for _ in range(2)]
    assert steps == [RetryAction.REATTACH, RetryAction.STOP]
    tries = attempts()
    steps = [tries.failed(ClientExpired(), now_s=0, jitter=0).step for _ in range(4)]
    assert steps == [RetryAction.REATTACH] * 3 + [RetryAction.STOP]


@pytest.mark.parametrize(
    ("error", "address"),
    [
        (LED, "http://b"),
        (NotLeader("x"), ""),
        (NotLeader("x", leader="http://b"), ""),
        (NotLeader("x", leader={"broker_id": 1}), ""),
        (NoLeader("x", leader={"address": "http://b"}), ""),
    ],
)
def test_the_leader_is_read_from_not_leader_alone(error: QueueError, address: str) -> None:
    assert leader_address(error) == address
