"""Django settings of every process; which apps and databases there are follows from its role."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import dj_database_url

from http_base.apidoc import SECURITY_SCHEMES
from queuesite import __version__
from queuesite.conf import BROKER, MANAGER, TEST, QueueConfig, from_environment
from queuesite.log_lines import OWN_LOGGERS

BASE_DIR = Path(__file__).resolve().parent.parent
QUEUE: QueueConfig = from_environment(os.environ)
VERSION = __version__

DEBUG = QUEUE.debug
# Signs sessions of people; all managers of a cluster share it through the cluster's secret.
SECRET_KEY = hashlib.blake2b(
    (QUEUE.cluster_secret or secrets.token_hex(32)).encode(), person=b"django-sessions"
).hexdigest()
# http_base.browsers holds every request against them, also those that Django does not see.
ALLOWED_HOSTS = QUEUE.hosts
CSRF_TRUSTED_ORIGINS = [
    f"https://{host if host[:1] != '.' else f'*{host}'}" for host in QUEUE.allowed_hosts
]
_ENCRYPTED = QUEUE.tls_cert is not None or QUEUE.behind_proxy
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _ENCRYPTED
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if _ENCRYPTED else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # names below this one, and lists of browsers,
    "security.W021",  # are the affair of whoever owns the domain
    "security.W008",  # a port with TLS answers plain HTTP itself; before others stands a proxy
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
STATIC_URL = "/static/"
X_FRAME_OPTIONS = "DENY"

_HTTP_APPS = [
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
_PEOPLE_APPS = [
    "manager_app.apps.PeopleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
# The theme's templates and site take the places of the admin's, and the console's those of both.
_MANAGER_APPS = ["manager_app", "unfold.apps.BasicAppConfig", *_PEOPLE_APPS, *_HTTP_APPS]
_APPS_BY_ROLE = {
    MANAGER: _MANAGER_APPS,
    BROKER: [*_HTTP_APPS, "raft_app", "broker_app"],
    TEST: [*_MANAGER_APPS, "raft_app", "broker_app"],
}
INSTALLED_APPS = ["queuesite", *_APPS_BY_ROLE[QUEUE.role]]

_WITH_PEOPLE = QUEUE.role != BROKER
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
if _WITH_PEOPLE:
    MIDDLEWARE += [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "queuesite.login.LoginThrottle",
        "manager_app.console.policy.ContentPolicy",
    ]
    LOGIN_URL, LOGIN_REDIRECT_URL = "/admin/login/", "/admin/"
    AUTHENTICATION_BACKENDS = ["queuesite.login.ThrottledBackend"]
MIDDLEWARE += ["django.middleware.clickjacking.XFrameOptionsMiddleware"]

_TAG_LIBRARIES = {"console": "manager_app.console.tags"} if _WITH_PEOPLE else {}
if QUEUE.role != MANAGER:
    _TAG_LIBRARIES["broker_figures"] = "broker_app.console.figures"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": _TAG_LIBRARIES,
            "context_processors": [
                "django.template.context_processors.request",
                "queuesite.banner.banner",
                *(
                    [
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                    if _WITH_PEOPLE
                    else []
                ),
            ],
        },
    }
]

ROOT_URLCONF = "queuesite.urls_broker" if QUEUE.role == BROKER else "queuesite.urls_manager"

NOT_HERE = (
    " of this broker: clients are given the address of a manager, which registers them and has the"
    " topics and groups"
    if QUEUE.role == BROKER
    else ""
)
"""Behind what was asked for in vain, as the client with the wrong address shows it."""

CONNECTION_AGE_S = 60
"""For which a thread of a manager keeps its database connection from call to call, in seconds."""
_MANAGER_SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": QUEUE.data_dir / "manager.sqlite3",
    "CONN_MAX_AGE": CONNECTION_AGE_S,
    "OPTIONS": {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    },
}
_BROKER_SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    # A broker's storage sets the name and all options of its connections when it opens its data
    # directory (`raft_app.storage.sqlite.database`).
    "NAME": QUEUE.data_dir / "broker.sqlite3",
}


def _manager_database() -> dict[str, Any]:
    if not QUEUE.database_url:
        return dict(_MANAGER_SQLITE)
    parsed: dict[str, Any] = dict(
        dj_database_url.parse(
            QUEUE.database_url, conn_max_age=CONNECTION_AGE_S, conn_health_checks=True
        )
    )
    given = parsed.get("OPTIONS", {})
    if parsed["ENGINE"] == _MANAGER_SQLITE["ENGINE"]:
        parsed["OPTIONS"] = {**given, **_MANAGER_SQLITE["OPTIONS"]}
    else:
        parsed["OPTIONS"] = postgresql_options(QUEUE, given)
    return parsed


def postgresql_options(config: QueueConfig, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of connections to PostgreSQL: the limits, then what the URL says itself.

    Args:
        config: names the limits.
        given: the parameters of QUEUE_DATABASE_URL.
    """
    limits = (
        f"-c statement_timeout={config.database_statement_timeout_ms}"
        f" -c idle_in_transaction_session_timeout={config.database_transaction_idle_timeout_ms}"
    )
    tcp_s = config.database_tcp_timeout_s
    return {
        "connect_timeout": config.database_connect_timeout_s,
        "tcp_user_timeout": tcp_s * 1_000,
        # Idle for two fifths, then three probes without an answer, a fifth apart.
        "keepalives_idle": 2 * tcp_s // 5,
        "keepalives_interval": tcp_s // 5,
        "keepalives_count": 3,
        **given,
        "options": f"{limits} {given.get('options', '')}".strip(),
    }


DATABASES: dict[str, dict[str, Any]] = {"default": _manager_database() if _WITH_PEOPLE else {}}
if QUEUE.role != MANAGER:
    DATABASES["broker"] = _BROKER_SQLITE
DATABASE_ROUTERS = ["queuesite.router.RoleRouter"]

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": [
        "http_base.negotiation.JsonRenderer",
        "http_base.negotiation.MsgpackRenderer",
        "http_base.negotiation.BatchRenderer",
        "http_base.browsable.BrowsableRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": [
        "http_base.negotiation.JsonParser",
        "http_base.negotiation.MsgpackParser",
        "http_base.negotiation.BatchParser",
    ],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "http_base.schema.StructSchema",
    "EXCEPTION_HANDLER": "http_base.exceptions.handle_exception",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Queue broker" if QUEUE.role == BROKER else "Queue manager",
    "DESCRIPTION": "Replicated, durable partitions over HTTP.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "APPEND_COMPONENTS": {"securitySchemes": SECURITY_SCHEMES},
    "POSTPROCESSING_HOOKS": [],  # all names and enums come from http_base.schema
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "DISABLE_ERRORS_AND_WARNINGS": False,
}

# The look of the admin, of which the console is part.
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "queuesite",
    "SITE_HEADER": "queuesite",
    "SITE_URL": "/",
    "SITE_ICON": f"{STATIC_URL}console/logo.svg",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}console/logo.svg"}
    ],
    "STYLES": [f"{STATIC_URL}console/console.css"],
    "SCRIPTS": [f"{STATIC_URL}console/console.js"],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.8% .013 190)",
            "100": "oklch(94.8% .032 189)",
            "200": "oklch(90% .06 188)",
            "300": "oklch(83% .09 188)",
            "400": "oklch(74% .105 188)",
            "500": "oklch(62% .1 189)",
            "600": "oklch(53% .09 189)",
            "700": "oklch(46% .079 190)",
            "800": "oklch(39.5% .066 190)",
            "900": "oklch(34% .055 190)",
            "950": "oklch(25% .042 191)",
        }
    },
    "SIDEBAR": {"navigation": "manager_app.console.navigation.navigation"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "queuesite.log_lines.TextLines"},
        "json": {"()": "queuesite.log_lines.JsonLines"},
    },
    "handlers": {
        "console": {"()": "queuesite.log_lines.BoundedHandler", "formatter": QUEUE.log_format}
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # A failed request is logged once, under its id, by http_base.exceptions.
        "django.request": {"level": "CRITICAL"},
        "celery": {"level": "WARNING"},
        "kombu": {"level": "WARNING"},
        "uvicorn": {"level": "WARNING"},
        **{name: {"level": QUEUE.log_level.upper()} for name in OWN_LOGGERS},
    },
}
