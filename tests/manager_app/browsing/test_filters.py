from __future__ import annotations

import pytest

from manager_app.browsing.filters import SOUGHT_LENGTH_MAX, JsonPath, MessageFilter
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.records import Record

DOCUMENT = '{"user": {"id": 17, "names": ["Ada", "King"], "a.b": null}, "paid": true}'


def passes(record, **sought):
    return MessageFilter.read(**sought).passes(record)


def test_a_filter_without_anything_lets_all_pass():
    assert MessageFilter.read().is_empty
    assert passes(Record(b"\xff\x00"))


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("Paid by ADA", "ada", True),
        ("Straße", "STRASSE", True),
        (b"caf\xc3\xa9", "CAFÉ", True),
        (b"\xff\xfeplain", "plain", True),
        ("nothing", "ada", False),
    ],
)
def test_text_is_found_in_either_case_and_among_bytes(value, text, found):
    assert passes(Record(value), text=text) is found


@pytest.mark.parametrize(
    ("key", "sought", "found"),
    [
        ("user-17", "user-17", True),
        ("user-17", "user-1", False),
        ("user-17", "user-*", True),
        (b"user-17", "user-17", True),
        (None, "user-17", False),
        (None, "*", False),
        ("", "*", True),
    ],
)
def test_a_key_is_sought_whole_or_by_how_it_begins(key, sought, found):
    assert passes(Record("v", key), key=sought) is found


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("trace", True),
        ("trace=abc", True),
        ("trace = abc", True),
        ("trace=ab", False),
        ("b", False),
    ],
)
def test_a_header_is_sought_by_name_and_by_value(sought, found):
    assert passes(Record("v", None, {"trace": b"abc"}), header=sought) is found


def test_a_header_whose_name_has_an_equals_sign_is_found():
    assert passes(Record("v", None, {"a=b": "c"}), header="a=b")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", True),
        ("$.user.id", True),
        ("$.user.id = 17", True),
        ("$.user.id=18", False),
        ('$.user.names[0] = "Ada"', True),
        ("$.user.names[1] = King", True),
        ("$.user.names[2]", False),
        ("$.user.names.first", False),
        ('$.user["a.b"] = null', True),
        ("$['paid'] = true", True),
        ("$.missing", False),
    ],
)
def test_a_json_path_finds_what_is_there(path, found):
    assert passes(Record(DOCUMENT), path=path) is found
    assert passes(Record(DOCUMENT.encode()), path=path) is found


@pytest.mark.parametrize("value", ["{", "", b"\xff", "[" * 100_000, '"text"'])
def test_a_value_that_is_no_json_or_too_deep_is_just_not_found(value):
    assert not passes(Record(value), path="$.a")


@pytest.mark.parametrize("path", ["user.id", "$.user[", "$..id", "$.a b", "$" + ".a" * 33])
def test_what_is_no_path_is_refused_by_the_name_of_its_field(path):
    with pytest.raises(InvalidRequest) as refused:
        JsonPath.read(path)
    assert refused.value.details["field"] == "path"


@pytest.mark.parametrize("field", ["text", "key", "header", "path"])
def test_what_is_too_long_is_refused_by_the_name_of_its_field(field):
    with pytest.raises(InvalidRequest) as refused:
        MessageFilter.read(**{field: "x" * (SOUGHT_LENGTH_MAX + 1)})
    assert refused.value.details["field"] == field


def test_everything_that_is_sought_has_to_be_there():
    record = Record(DOCUMENT, "user-17", {"trace": "abc"})
    sought = {"text": "ada", "key": "user-*", "header": "trace", "path": "$.user.id = 17"}
    assert passes(record, **sought)
    for field in sought:
        assert not passes(record, **{**sought, field: "$.nowhere"})
