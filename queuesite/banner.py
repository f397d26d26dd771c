"""What every page of the admin says while the cluster is open to others and not protected."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.conf import settings

from queuesite.conf import missing_protection, read_setting

if TYPE_CHECKING:
    from django.http import HttpRequest


def banner(_: HttpRequest) -> dict[str, str]:
    """Return the variable `insecure` of templates: what is missing; empty when nothing is."""
    has_secret = bool(read_setting(os.environ, "QUEUE_CLUSTER_SECRET"))
    return {"insecure": "; ".join(missing_protection(settings.QUEUE, has_secret=has_secret))}
