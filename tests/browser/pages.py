"""The pages of the console: tests look at each, and `make screenshots` takes a picture of each."""

from __future__ import annotations

CONSOLE = {
    "overview": "",
    "topics": "topics/",
    "create-topic": "create-topic/",
    "topic": "topics/{topic}/",
    "messages": "topics/{topic}/messages/",
    "message": "topics/{topic}/messages/0/0/",
    "republish": "topics/{topic}/messages/0/0/republish/",
    "publish": "topics/{topic}/publish/",
    "settings": "topics/{topic}/settings/",
    "retention": "topics/{topic}/settings/retention/",
    "grow": "topics/{topic}/settings/partitions/",
    "purge": "topics/{topic}/settings/purge/",
    "delete": "topics/{topic}/settings/delete/",
    "groups": "groups/",
    "group": "groups/{group}/",
    "move": "groups/{group}/move/",
    "forget": "groups/{group}/forget/",
    "workers": "groups/{workers}/",
    "dead-letters": "groups/{workers}/dead-letters/{mails}/",
    "redrive": "groups/{workers}/dead-letters/{mails}/redrive/",
    "purge-letters": "groups/{workers}/dead-letters/{mails}/purge/",
    "brokers": "brokers/",
    "broker": "brokers/1/",
    "drain": "brokers/1/drain/",
    "undrain": "brokers/1/undrain/",
    "hand-over": "brokers/1/hand-over/",
    "rebalance": "rebalance/",
    "rebalance-start": "rebalance/start/",
    "rebalance-pause": "rebalance/pause/",
    "rebalance-cancel": "rebalance/cancel/",
    "clients": "clients/",
    "events": "events/",
    "records": "records/",
}
"""Name -> path below `/admin/` of every page that the console has, but for downloads."""
ADMIN = {
    "tokens": "manager_app/apitoken/",
    "token": "manager_app/apitoken/add/",
    "people": "auth/user/",
    "stored-topics": "manager_app/topic/",
    "person": "auth/user/add/",
}
"""The same of pages of Django's admin."""
NO_PAGES = ("topic_download",)
"""Names of URLs that answer with a file."""


def paths(**parts: str) -> dict[str, str]:
    """Return the path of each page by its name.

    Args:
        parts: a `topic` with a message, a `group` that reads, `workers` of the topic `mails`.
    """
    return {name: f"/admin/{path.format(**parts)}" for name, path in (CONSOLE | ADMIN).items()}
