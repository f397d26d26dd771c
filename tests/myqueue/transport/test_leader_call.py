from __future__ import annotations

import msgspec
import pytest

from myqueue.results import Registration
from myqueue.transport.leader_call import posting


@pytest.mark.parametrize(("token", "names_consumer"), [("t-1", True), ("", False)])
def test_a_request_names_the_partition_and_the_registration_as_it_then_is(
    token: str, names_consumer: bool
) -> None:
    make = posting("/path", ("logs", 2), {"offset": 5}, names_consumer=names_consumer)
    request = make(Registration(7, token))
    body = msgspec.msgpack.decode(request.body)
    assert (request.method, request.path, request.token) == ("POST", "/path", token)
    assert {"topic": "logs", "partition": 2, "offset": 5}.items() <= body.items()
    assert body.get("consumer_id") == (7 if names_consumer else None)
    assert body.get("token") == (token or None)
