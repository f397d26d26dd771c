"""Certificates of an authority of one's own, made by the command `openssl`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, both files in PEM."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates, for as long as a test runs."""

    def __init__(self, directory: Path) -> None:
        """Make it, in a directory of its own."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.ca = directory / "ca.pem"
        self._key = directory / "ca.key"
        self._openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=tests"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", self._key, "-out", self.ca),
        )

    def issue(self, name: str = "server", *, hosts: str = "IP:127.0.0.1,DNS:localhost") -> Issued:
        """Return a new certificate for these addresses."""
        cert, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        self._openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={hosts}", "-addext", "basicConstraints=CA:FALSE"),
            *("-CA", self.ca, "-CAkey", self._key, "-keyout", key, "-out", cert),
        )
        return Issued(cert, key)

    def _openssl(self, *arguments: object) -> None:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("openssl makes the certificates")
        command = [program, *(str(one) for one in arguments)]
        subprocess.run(command, check=True, capture_output=True)
