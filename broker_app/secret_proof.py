"""A fingerprint of the cluster's secret, by which a broker notices that it is given another one.

A broker starts without managers. One with a wrong secret, which peers and managers would refuse for
ever, must not start at all: it compares its secret with the fingerprint of the accepted one.
"""

from __future__ import annotations

import hmac
import logging
import os
from typing import TYPE_CHECKING

from raft_app.storage.sqlite.directory import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

PROOF_NAME = "secret.fingerprint"
_LENGTH = 64
"""Hexadecimal digits."""


class SecretProof:
    """The file `directory/secret.fingerprint`: one line."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; nothing is touched yet."""
        self.path = directory / PROOF_NAME

    def fits(self, fingerprint: str) -> bool | None:
        """Tell whether this is what was kept; None when nothing was, or it cannot be read."""
        try:
            kept = self.path.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("%s cannot be read: %s", self.path, error)
            return None
        return hmac.compare_digest(kept, fingerprint) if len(kept) == _LENGTH else None

    def keep(self, fingerprint: str) -> None:
        """Replace what was kept; where there is no room for it, the next start tries again."""
        new = self.path.with_name(f"{PROOF_NAME}.new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(f"{fingerprint}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self.path, error.strerror)
