"""Guessing a password takes longer with each guess, from one address and for one name."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from http_base.throttle import FREE_FAILURES, Places, Throttle
from queuesite import login

pytestmark = pytest.mark.django_db
PASSWORD = "a password of the test"


class Clock:
    now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch, settings):
    clock = Clock()
    monkeypatch.setattr(login, "THROTTLE", Throttle(clock))
    monkeypatch.setattr(login, "PLACES", Places())
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    get_user_model().objects.create_superuser("admin", "", PASSWORD)
    return clock


def log_in(password, *, username="admin", address="10.0.0.1"):
    form = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address).post("/admin/login/?next=/admin/", form)


def test_wrong_passwords_have_to_wait_and_so_does_the_right_one(clock, caplog):
    for _ in range(FREE_FAILURES + 1):
        assert log_in("wrong-guess").status_code == 200, "the form again"
    early = log_in(PASSWORD)
    assert (early.status_code, early["Retry-After"]) == (429, "1")
    assert early.content == b"too many wrong log-ins; try again in 1 s\n"
    clock.now_s += 1
    assert log_in(PASSWORD).status_code == 302
    assert log_in(PASSWORD).status_code == 302
    assert "a log-in from 10.0.0.1 failed" in caplog.text
    assert "wrong-guess" not in caplog.text


def test_one_name_from_many_addresses_and_many_names_from_one_wait():
    for number in range(FREE_FAILURES + 1):
        log_in("wrong", address=f"10.0.1.{number}")
    assert log_in("wrong", address="10.0.2.1").status_code == 429
    assert log_in("wrong", username="other", address="10.0.2.1").status_code == 200
    for number in range(FREE_FAILURES + 1):
        log_in("wrong", username=f"name-{number}", address="10.0.3.1")
    assert log_in("wrong", username="one-more", address="10.0.3.1").status_code == 429


def test_who_guesses_elsewhere_locks_nobody_out():
    assert log_in(PASSWORD, address="10.0.4.1").status_code == 302
    for number in range(FREE_FAILURES + 1):
        log_in("wrong", address=f"10.0.5.{number}")
    assert log_in(PASSWORD, address="10.0.6.1").status_code == 429, "a new place waits"
    assert log_in(PASSWORD, address="10.0.4.1").status_code == 302
    assert log_in(PASSWORD, address="10.0.6.1").status_code == 429, "still"
    for _ in range(FREE_FAILURES + 1):
        assert log_in("wrong", address="10.0.4.1").status_code == 200
    assert log_in(PASSWORD, address="10.0.4.1").status_code == 429, "guesses there count there"


def test_all_addresses_of_one_network_of_ip_version_6_are_one():
    for number in range(FREE_FAILURES + 1):
        log_in("wrong", username=f"name-{number}", address=f"fd00:0:0:7::{number:x}")
    assert log_in("wrong", username="more", address="fd00:0:0:7:ffff::1").status_code == 429
    assert log_in("wrong", username="more", address="fd00:0:0:8::1").status_code == 200
    given = ("10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "unknown")
    expected = ["10.0.0.1", "fd00::/64", "::ffff:10.0.0.1", "unknown"]
    assert [login.network_of(one) for one in given] == expected


def test_refused_and_failed_log_ins_are_counted():
    before = login.LOGINS_REFUSED._value.get(), login.LOGINS_FAILED._value.get()
    for _ in range(FREE_FAILURES + 3):
        log_in("wrong")
    assert login.LOGINS_REFUSED._value.get() == before[0] + 2
    assert login.LOGINS_FAILED._value.get() == before[1] + FREE_FAILURES + 1
