from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest
from myqueue.transport.topic_names import topic_names


@pytest.mark.parametrize("topics", [[""], [5], ""])
def test_topics_are_texts(topics: object) -> None:
    with pytest.raises(InvalidRequest):
        topic_names(topics)  # type: ignore[arg-type]
    assert topic_names("a") == ["a"]
    assert topic_names(("a", "b")) == ["a", "b"]
