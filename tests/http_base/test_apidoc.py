from __future__ import annotations

import pytest

from http_base.apidoc import doc_of, example_of
from myqueue.contract import inputs as protocol
from myqueue.contract.inputs import Produce, read_input
from tests.http_base.views_for_tests import EchoView, FailingView


@pytest.mark.parametrize(
    "input_type",
    [protocol.TopicCreate, protocol.ProducerRegister, Produce, protocol.Consume, protocol.Fetch],
)
def test_examples_are_understood(input_type):
    assert read_input(input_type, example_of(input_type))


def test_only_described_handlers_have_a_doc():
    assert doc_of(EchoView(), "POST").input is Produce
    assert doc_of(FailingView(), "GET") is None
