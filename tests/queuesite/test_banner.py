"""Pages say that a cluster is open to others, where it is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace


@pytest.mark.django_db
@pytest.mark.parametrize(("bind_host", "said"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_every_page_of_the_admin_says_what_is_missing(
    client, admin_client, settings, monkeypatch, bind_host, said
):
    monkeypatch.delenv("QUEUE_CLUSTER_SECRET", raising=False)
    settings.QUEUE = replace(
        settings.QUEUE,
        bind_host=bind_host,
        current_address="http://a:8000",
        allow_insecure=True,
    )
    for who, path in ((client, "/admin/login/"), (admin_client, "/admin/")):
        body = who.get(path).content.decode()
        assert ("it is not protected (QUEUE_ALLOW_INSECURE=1)" in body) is said
        assert (
            "QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and QUEUE_TLS_KEY" in body
        ) is said
