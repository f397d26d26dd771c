"""The reference of errors is what the declarations say."""

from __future__ import annotations

import pytest

from myqueue.contract.errors import BY_CODE, ClientError, CommitTimeout, NotFound, QueueError
from tools import errors_page

DECLARED = sorted(
    {*BY_CODE.values()} - {QueueError, ClientError}, key=lambda declared: declared.code
)


def test_the_page_is_current() -> None:
    assert errors_page.PAGE.read_text() == errors_page.page(), "run python -m tools.errors_page"


@pytest.mark.parametrize("cls", DECLARED, ids=lambda cls: cls.code)
def test_each_error_says_what_it_means_and_what_to_do(cls: type[QueueError]) -> None:
    page = errors_page.page()
    assert f"\n| [`{cls.code}`](#{cls.code.lower()}) |" in page
    section = page.partition(f"\n### {cls.code} {{")[2].partition("\n<span id")[0]
    assert f"`{cls.__name__}`" in section
    assert "**What to do:** " in section
    assert (", retriable." in section) == cls.retriable


def test_what_may_have_happened_is_told_apart() -> None:
    assert errors_page.may_have_happened(CommitTimeout) == "yes"
    assert errors_page.may_have_happened(BY_CODE["INTERNAL"]) == "told"
    assert errors_page.may_have_happened(NotFound) == "no"
    assert not CommitTimeout().outcome_known
