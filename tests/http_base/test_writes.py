from __future__ import annotations

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction

from http_base.writes import NothingWritten, write_watch
from manager_app.models import DeletedGroup

pytestmark = pytest.mark.django_db(transaction=True)


def store():
    DeletedGroup.objects.create(group_id=1, topic_name="gone", index=0)


def failing(execute, sql, params, many, context):
    raise OperationalError("gone")


def test_reads_write_nothing():
    with write_watch() as watch:
        assert not DeletedGroup.objects.exists()
    assert isinstance(watch.judge(OperationalError("gone")), NothingWritten)
    assert isinstance(watch.judge(InterfaceError("gone")), NothingWritten)


def test_what_was_stored_may_have_stayed():
    with write_watch() as watch:
        store()
    judged = watch.judge(NothingWritten("by another thread"))
    assert type(judged) is OperationalError
    assert str(judged) == "by another thread"


def test_a_write_that_failed_inside_a_transaction_stored_nothing():
    with write_watch() as watch, connection.execute_wrapper(failing):
        with pytest.raises(OperationalError), transaction.atomic():
            store()
        assert not watch.wrote
        with pytest.raises(OperationalError):
            DeletedGroup.objects.update(index=1)
    assert watch.wrote


def test_other_errors_stay_what_they_are():
    with write_watch() as watch:
        error = KeyError("bug")
        assert watch.judge(error) is error
