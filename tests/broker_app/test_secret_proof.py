from __future__ import annotations

import stat

import pytest

from broker_app.secret_proof import PROOF_NAME, SecretProof

ONE, OTHER = "1" * 64, "2" * 64


def test_what_was_kept_fits_and_nothing_else(tmp_path):
    proof = SecretProof(tmp_path)
    assert proof.fits(ONE) is None
    proof.keep(ONE)
    assert SecretProof(tmp_path).fits(ONE) is True
    assert proof.fits(OTHER) is False
    proof.keep(OTHER)
    assert (proof.fits(ONE), proof.fits(OTHER)) == (False, True)
    assert [path.name for path in tmp_path.iterdir()] == [PROOF_NAME]
    assert stat.S_ISREG(proof.path.stat().st_mode)


@pytest.mark.parametrize("content", [b"", b"11111\n", b"\xff" * 64])
def test_file_that_says_nothing_proves_nothing(tmp_path, content):
    proof = SecretProof(tmp_path)
    proof.path.write_bytes(content)
    assert proof.fits(ONE) is None


def test_where_it_cannot_be_kept_that_is_said_and_the_broker_starts(tmp_path, caplog):
    proof = SecretProof(tmp_path / "missing")
    proof.keep(ONE)
    assert "cannot be written: No such file or directory" in caplog.text
    assert proof.fits(ONE) is None
