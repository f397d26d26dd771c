"""Files of TLS: what is taken, and the one line about each that cannot be."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from http_base.tls import TlsError, tls_of
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def issued(authority):
    return authority.issue()


def test_nothing_set_is_no_tls():
    assert tls_of(None, None, None, asks=False) is None


def test_authorities_alone_are_for_calls(authority):
    tls = tls_of(None, None, authority.ca, asks=False)
    assert tls.serving is tls.peers is None
    assert len(tls.calling.get_ca_certs()) == 1, "nobody else is trusted"


def test_a_certificate_serves_and_tls_1_1_is_too_old(authority, issued):
    tls = tls_of(issued.cert, issued.key, authority.ca, asks=False)
    for context in (tls.serving, tls.peers, tls.calling):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.calling.verify_mode == ssl.CERT_REQUIRED
    assert tls.calling.check_hostname
    assert tls.serving.verify_mode == tls.peers.verify_mode == ssl.CERT_NONE
    assert not tls.asks_certificates


def test_asked_certificates_are_needed_by_peers_and_checked_on_http(authority, issued):
    tls = tls_of(issued.cert, issued.key, authority.ca, asks=True)
    assert tls.peers.verify_mode == ssl.CERT_REQUIRED
    assert tls.serving.verify_mode == ssl.CERT_OPTIONAL
    assert len(tls.peers.get_ca_certs()) == len(tls.serving.get_ca_certs()) == 1
    assert tls.asks_certificates


def test_files_that_cannot_be_used_are_said_in_one_line(authority, issued, tmp_path):
    missing, words = tmp_path / "missing.pem", tmp_path / "words.pem"
    words.write_text("words")
    other = authority.issue("other")
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", issued.key, "-out", encrypted]
    subprocess.run([*command, "-passout", "pass:x"], check=True, capture_output=True)
    for files, said in (
        ((missing, issued.key, None), f"QUEUE_TLS_CERT: {missing} cannot be read: No such file"),
        ((issued.cert, missing, None), f"QUEUE_TLS_KEY: {missing} cannot be read: No such file"),
        (
            (issued.cert, tmp_path, None),
            f"QUEUE_TLS_KEY: {tmp_path} cannot be read: Is a directory",
        ),
        (
            (issued.cert, other.key, None),
            f"QUEUE_TLS_KEY: {other.key} is not the key of QUEUE_TLS_CERT",
        ),
        ((issued.cert, encrypted, None), f"QUEUE_TLS_KEY: {encrypted} is encrypted"),
        (
            (words, issued.key, None),
            f"QUEUE_TLS_CERT, QUEUE_TLS_KEY: {words} or {issued.key} is no PEM",
        ),
        (
            (issued.cert, issued.key, missing),
            f"QUEUE_TLS_CA: the authorities in {missing} cannot be",
        ),
        ((issued.cert, issued.key, words), f"QUEUE_TLS_CA: the authorities in {words} cannot be"),
    ):
        with pytest.raises(TlsError) as raised:
            tls_of(*files, asks=False)
        assert str(raised.value).startswith(said)
        assert "\n" not in str(raised.value)
