"""Long bodies at the door of a manager: who may not send one is told before it comes."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from http_base.tokens import ClientToken, sign_client
from myqueue.contract.inputs import BATCH, JSON
from tests.http_base.withheld import Withheld, served

pytestmark = pytest.mark.django_db(transaction=True)


def batch_path(producer_id: int, **fields: object) -> str:
    query = {"topic": "logs", "partition": 0, "producer_id": producer_id, **fields}
    return f"/producer/produce?{urlencode(query)}"


async def test_who_may_not_send_a_long_body_is_told_before_it_comes(site) -> None:
    known = await site.producer()

    def token(client: int, topic: str = "logs") -> str:
        claims = ClientToken("producer", client, topic, site.runtime.now_ms)
        return f"Bearer {sign_client(site.runtime.secret, claims)}"

    refused = [
        (batch_path(known + 99), BATCH, "", 401),
        (batch_path(known, topic="other"), BATCH, "", 401),
        (batch_path(known), BATCH, "Bearer nonsense", 401),
        (batch_path(known), BATCH, token(known + 1), 401),
        (batch_path(known), BATCH, token(known, "other"), 401),
        (batch_path(known, partition="x"), BATCH, "", 400),
        ("/messages/ack", JSON, "Bearer nonsense", 401),
    ]
    async with served(site.hot_app) as server:
        for path, content_type, authorization, status in refused:
            request = await Withheld.send(
                server.port, path, content_type=content_type, authorization=authorization
            )
            assert (await request.answer())[0] == status, path
            await request.leave()
