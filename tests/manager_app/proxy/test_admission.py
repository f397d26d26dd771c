from __future__ import annotations

import pytest

from manager_app.proxy.admission import admit_by_token, check_token
from myqueue.contract.errors import UnauthorizedException
from tests.manager_app.apis.test_passing import registered


async def test_a_token_is_that_of_one_client_of_one_topic(site):
    token = await registered(site)
    check_token(site.runtime, "consumer", 1, topic="logs", token=token)
    check_token(site.runtime, "consumer", 2, topic="logs", token=None)
    for kind, client_id, topic in (
        ("producer", 1, "logs"),
        ("consumer", 2, "logs"),
        ("consumer", 1, "other"),
    ):
        with pytest.raises(UnauthorizedException):
            check_token(site.runtime, kind, client_id, topic=topic, token=token)


async def test_a_client_of_the_topic_passes_where_its_kind_may(site):
    token = await registered(site)
    await admit_by_token(site.runtime, None, "logs", token)
    await admit_by_token(site.runtime, "consumer", "logs", token)
    for wanted, topic in (("producer", "logs"), (None, "other")):
        with pytest.raises(UnauthorizedException):
            await admit_by_token(site.runtime, wanted, topic, token)
