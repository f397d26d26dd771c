"""The configuration of a process: one frozen value, read from the environment and validated.

Each field is read from the variable of its name in capitals behind QUEUE_ (`port` from QUEUE_PORT),
except `manager_addresses` (QUEUE_MANAGER_ADDRESS) and `known_raft_address` (QUEUE_RAFT_ADDRESS). An
older spelling, without QUEUE_ (of the role QUEUESITE_ROLE), is read where that is unset. Where
neither is set the default holds. In role `test` only QUEUE_DATABASE_URL is looked at, so that a
test run depends on nothing else.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import dj_database_url
import msgspec
from msgspec import Meta
from msgspec.structs import fields, force_setattr, replace

from http_base.memory_budget import BUDGET_BYTES, BUDGET_BYTES_MIN
from http_base.tls import TlsError, tls_of
from raft_app.storage.sqlite.directory import make_durable_directory, sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping, Sequence

    from http_base.tls import Tls

MANAGER, BROKER, TEST = "manager", "broker", "test"
ROLES = (MANAGER, BROKER, TEST)
PREFIX = "QUEUE_"
ROLE_VARIABLE = "QUEUE_ROLE"
SECRET_FILE = "cluster.secret"  # noqa: S105 - the name of the file, not the secret
RAFT_PORT_DISTANCE = 1_000
"""The Raft port is this far above the HTTP port when it is not given."""
SECRET_LENGTH_MIN = 16
"""Shortest cluster secret, in characters."""

NEAR_MISS_RATIO = 0.85
"""How alike a variable without the prefix must be to one that is read, to be told."""
FAR_MISS_RATIO = 0.6
"""How alike one with the prefix must be for its neighbour to be named."""

DATA_ROOT = Path("data")
"""Where the processes started in one folder keep their data, each in a folder of its own."""

_DEFAULT_PORTS = {MANAGER: 8000, BROKER: 8001, TEST: 8000}
_VARIABLES = {
    "manager_addresses": "QUEUE_MANAGER_ADDRESS",
    "known_raft_address": "QUEUE_RAFT_ADDRESS",
}
_SWITCH_WORDS = {"yes": "1", "on": "1", "no": "0", "off": "0"}
"""What else is understood where 1 or 0, true or false is meant."""
_MIB = 1 << 20

Port = Annotated[int, Meta(ge=1, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]


def variable_of(name: str) -> str:
    """Return the environment variable of a field."""
    return _VARIABLES.get(name, PREFIX + name.upper())


def older_spelling(variable: str) -> str:
    """Return what a variable was called before all had a prefix."""
    return "QUEUESITE_ROLE" if variable == ROLE_VARIABLE else variable.removeprefix(PREFIX)


class ConfigError(Exception):
    """A value of the configuration is wrong; one clear line says which and why. Exit status 2."""


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, rename=variable_of):
    """Every setting of a manager or broker. Reading one that is wrong raises `ConfigError`."""

    role: str = TEST
    """`manager`, `broker`, or `test` (both, for tests and tools)."""
    port: Port = 8000
    """HTTP port; 8001 for a broker where it is unset."""
    bind_host: str = "127.0.0.1"
    """Address that HTTP and Raft listen on."""
    manager_addresses: tuple[str, ...] = ("http://127.0.0.1:8000",)
    """Managers that a broker asks, tried in turn: `http://host:port`, separated by commas."""
    current_address: str = ""
    """`http://host:port` where others reach this process; made of `bind_host` and `port` when
    empty."""
    raft_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Port of the broker's peers; `port` + 1,000 when 0."""
    known_raft_address: str = ""
    """`host:port` where the broker's peers reach it; the host of its HTTP address and `raft_port`
    when empty. Set where it is another than the port listened on, as behind a proxy."""
    rack: Annotated[str, Meta(max_length=64)] = ""
    """What a broker shares a failure with: a rack, a zone, a room. The replicas of a partition are
    spread over as many as there are. At most 64 characters."""
    read_only: bool = False
    """A manager that changes no metadata."""
    database_url: str = ""
    """Database of a manager; an SQLite file in `data_dir` when empty. Two managers need
    PostgreSQL."""
    database_connect_timeout_s: Annotated[int, Meta(ge=2)] = 3
    """Seconds until a connection to PostgreSQL is made; at least 2."""
    database_statement_timeout_ms: Annotated[int, Meta(ge=0)] = 4_000
    """Milliseconds after which PostgreSQL gives up one statement, its waits for locks included;
    0: never. Not in force while a manager migrates at its start."""
    database_answer_timeout_ms: Positive = 5_000
    """Milliseconds that a manager waits for PostgreSQL's answer; then it closes the connection.
    Above QUEUE_DATABASE_STATEMENT_TIMEOUT_MS, so that a mere slow statement has a known outcome."""
    database_transaction_idle_timeout_ms: Positive = 8_000
    """Milliseconds after which PostgreSQL takes its locks back from a manager that vanished in the
    middle of a transaction."""
    database_tcp_timeout_s: Annotated[int, Meta(ge=5)] = 10
    """Seconds after which the kernel gives up a connection whose other end is gone; at least 5."""
    celery_broker_url: str = ""
    """Redis of the managers' tasks; empty: they run inside each manager."""
    data_dir: Path = DATA_ROOT
    """Directory of everything this process stores. Unset: `data/manager` for all managers, which
    share one database, and `data/broker-PORT` for a broker."""
    cluster_secret: str = ""
    """Signs tokens and Raft handshakes; the same in the whole cluster. Unset: the first process
    makes it, in `data/cluster.secret`, where the others find it; with a `data_dir` that does not
    lie in `data`, it is looked for in `data_dir` and beside it, and made there."""
    change_secret: bool = False
    """Take `cluster_secret` in the place of the one that was recorded. For one start of every
    process, while nothing else of the cluster runs."""
    auth: Literal["off", "required"] = "off"
    """`off`: whoever reaches a port of the cluster may do everything; for a cluster that listens on
    loopback. `required`: people log in, programs show an API token, and both may do what they were
    given a right to. The same in the whole cluster."""
    tls_cert: Path | None = None
    """File of this process's certificate, in PEM, with those between it and its authority: HTTP and
    the Raft port speak TLS, 1.2 at least. It names the hosts of `current_address` and
    `known_raft_address`. The same in the whole cluster: all processes have one, or none."""
    tls_key: Path | None = None
    """File of the private key of `tls_cert`, in PEM, not encrypted. It is only read."""
    tls_ca: Path | None = None
    """File of the authorities, in PEM, that this process trusts when it calls others; those of the
    system when unset."""
    tls_client_certs: bool = False
    """Processes of the cluster must show a certificate of `tls_ca`, to peers on the Raft port and
    with each call over HTTP in the name of the cluster. Clients need none."""
    behind_proxy: bool = False
    """HTTP comes through a proxy that ends TLS: the address and scheme that it adds last to
    X-Forwarded-For and X-Forwarded-Proto count as the client's. Only the proxy may reach the port;
    the Raft port is not encrypted without `tls_cert`."""
    allow_insecure: bool = False
    """Listen beyond loopback all the same when what that needs is missing: for a laboratory."""
    allowed_hosts: tuple[str, ...] = ()
    """More names under which this process is asked for, separated by commas, besides those of
    `current_address`, `manager_addresses` and `bind_host`, those without dots and IP addresses;
    `.a.org` stands for all names below a.org. A request with another Host is refused. Pages of
    these hosts may also make a browser write here."""
    log_format: Literal["text", "json"] = "text"
    """`text`: lines for people; `json`: each line an object with time, level, logger, message, the
    id of its request and, where something was raised, exception."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines of the project's own log below this level are not written. `debug`: also which entries
    of which partition are proposed, stored and applied, so that one write can be followed through
    all brokers."""
    slow_request_ms: Annotated[int, Meta(ge=0)] = 1_000
    """A request that takes longer is logged as a warning, in milliseconds from when it was whole;
    long polls without the time that they wait. 0: none."""
    debug: bool = False
    """Django's debug pages. Never where others can reach the port."""

    tick_ms: Positive = 50
    """Length of a Raft tick. Shorter finds dead leaders sooner and costs more idle work."""
    heartbeat_ticks: Positive = 2
    """Ticks between two heartbeats of a leader."""
    election_timeout_ticks: Positive = 20
    """Ticks of silence before an election (up to twice as many); at least 10 heartbeats."""
    quiesce_after_ticks: Annotated[int, Meta(ge=0, le=1_000_000)] = 60
    """Idle ticks after which a partition sleeps and costs nothing; at least
    QUEUE_ELECTION_TIMEOUT_TICKS, or 0: never. Sooner saves more where messages come in bursts."""
    broker_heartbeat_s: Positive = 15
    """Seconds between two reports of a broker to its manager."""
    broker_sign_s: Positive = 5
    """Seconds between two signs of life of a broker, which name some replicas that went on."""
    suspect_after_s: Positive = 12
    """Seconds without a report before a broker is shown as `suspect`, and what it holds as
    degraded; 2 signs of life at least. Nothing else follows from it."""
    dead_after_s: Positive = 60
    """Seconds without a heartbeat before a broker or client counts as dead; 2 heartbeats at
    least."""
    replace_after_s: Positive = 600
    """Seconds without a heartbeat before a broker's replicas move to others that have none of
    their partitions. Sooner costs copying after a mere outage."""
    forget_after_s: Positive = 432_000
    """Seconds without a heartbeat before a consumer is forgotten with its cursors; until then it
    may come back with its token. Five days. Longer lets more cursors pile up, up to
    `cursors_max`, from programs that register anew at each run."""
    checkpoint_entries: Positive = 10_000
    """Applied entries between two checkpoints of a partition. More: cheaper, slower start."""
    log_keep_bytes: Positive = 64 * _MIB
    """Log that a leader keeps for followers that lag; one further back gets a snapshot."""
    snapshot_bytes_per_second: Positive = 64 * _MIB
    """Of all snapshots that a broker sends, and as many again of the entries with which new
    replicas catch up. Less leaves more to produce and consume; less than a partition gains in a
    second means that a replica of it never arrives."""
    retention_interval_s: Positive = 30
    """Seconds between two looks for messages that are too old or too many."""
    scrub_interval_s: Positive = 3_600
    """Seconds between two passes that verify everything stored."""
    scrub_bytes_per_second: Positive = 4 * _MIB
    """How fast such a pass reads."""
    disk_reserve_bytes: Annotated[int, Meta(ge=0)] = 256 * _MIB
    """Free space below which writes are refused with DISK_FULL and leaderships handed over; set the
    same on managers, which give none to such a broker."""

    long_polls_max: Positive = 5_000
    """Open long polls of one process. On a manager one over several partitions counts once for
    each, and this is also how many calls that do not wait it passes on at once."""
    producers_max: Positive = 10_000
    """Producers that a partition remembers."""
    cursors_max: Positive = 10_000
    """Cursors of a partition."""
    producers_per_address_max: Positive = 5_000
    """Of the producers that a partition remembers, those whose clients are at one address."""
    cursors_per_address_max: Positive = 5_000
    """Of the cursors of a partition, those whose consumers are at one address."""
    request_ids_max: Positive = 10_000
    """Request ids that a partition remembers."""
    memory_budget_bytes: Annotated[int, Meta(ge=BUDGET_BYTES_MIN)] = BUDGET_BYTES
    """What a process holds in memory of what others send; at least 256 MiB. A quarter is for the
    newest batches, an eighth each for bodies of requests under way, entries not applied yet,
    entries kept for followers that lag, what waits for the disk, and frames for peers, a sixteenth
    each for decoded batches and answers that are not read yet; of a manager the bodies and answers
    alone. An owner leaves as much free as it holds: beyond it its requests get OVERLOADED, and the
    others go on. More takes larger bursts; the process itself needs some 150 MiB beside it."""
    connections_max: Positive = 20_000
    """Open HTTP connections of a process; also 256 less than it may have descriptors. Beyond it the
    longest idle are closed, or new ones get OVERLOADED."""
    idle_connection_s: Positive = 75
    """Seconds until an HTTP connection without a request is closed."""
    slow_bytes_per_second: Annotated[int, Meta(ge=0)] = 4_096
    """How fast an HTTP request has to be sent and an answer read; slower clients are cut off,
    senders with REQUEST_TIMEOUT. 0: however slow."""
    slow_window_s: Positive = 10
    """Seconds over which that speed is measured, and that the headers of a request may take."""
    tail_bytes_per_group: Positive = 16 * _MIB
    """Newest batches of a partition kept in memory."""
    tail_bytes: Positive = 256 * _MIB
    """Newest batches of all partitions kept in memory; never more than a quarter of
    `memory_budget_bytes`."""
    max_uncommitted_bytes: Positive = 64 * _MIB
    """Proposals of a partition in flight, in bytes; beyond it OVERLOADED."""
    max_uncommitted_entries: Positive = 1_000
    """Proposals of a partition in flight, in entries; beyond it OVERLOADED."""
    transport_queue_bytes: Positive = 64 * _MIB
    """Frames waiting for one peer; beyond it appends are dropped and sent again later."""
    sequence_park_ms: Positive = 1_000
    """How long a batch waits for its predecessor before OUT_OF_ORDER_SEQUENCE."""

    @property
    def address(self) -> str:
        """`http://host:port` where others reach this process."""
        scheme = "https" if self.tls_cert else "http"
        return self.current_address or f"{scheme}://{_bracketed(self.bind_host)}:{self.port}"

    @property
    def hosts(self) -> list[str]:
        """What the Host header of a request may say, beside IP addresses; as Django takes it."""
        addresses = (self.address, *self.manager_addresses)
        known = [_bracketed(_host_of(address)) for address in addresses]
        known += ["localhost", "127.0.0.1", "[::1]", *self.allowed_hosts]
        return list(dict.fromkeys(known))

    @property
    def tls(self) -> Tls | None:
        """What connections are secured with; None where nothing is set.

        Raises:
            TlsError: a file cannot be used.
        """
        return tls_of(self.tls_cert, self.tls_key, self.tls_ca, asks=self.tls_client_certs)

    @property
    def raft_address(self) -> str:
        """`host:port` where the broker's peers reach it."""
        host = _host_of(self.address) or self.bind_host
        return self.known_raft_address or f"{_bracketed(host)}:{self.raft_port}"

    def __post_init__(self) -> None:
        """Fill in what follows from other fields and refuse what cannot be.

        Raises:
            ConfigError: a value or a combination is wrong.
        """
        if not self.raft_port:
            force_setattr(self, "raft_port", self.port + RAFT_PORT_DISTANCE)
        for problem in problems(self):
            raise ConfigError(problem)


def problems(config: QueueConfig) -> list[str]:
    """Return one line per wrong value or impossible combination; empty when all is well."""
    rules = (
        *_listening(config),
        *_values(config),
        *_combinations(config),
        *_secured(config),
        *_times(config),
    )
    return [message for holds, message in rules if not holds]


def missing_protection(config: QueueConfig, *, has_secret: bool) -> list[str]:
    """Return what is missing where others than this machine may connect; empty when nothing is.

    Args:
        config: of the process.
        has_secret: whether somebody chose the secret: QUEUE_CLUSTER_SECRET is set. A file may
            have been made by the first process that looked for one.
    """
    if is_loopback(config.bind_host):
        return []
    needed = {
        "QUEUE_AUTH=required": config.auth == "required",
        "QUEUE_CLUSTER_SECRET": has_secret,
        "QUEUE_TLS_CERT and QUEUE_TLS_KEY, or QUEUE_BEHIND_PROXY=1": config.tls_cert is not None
        or config.behind_proxy,
    }
    return [name for name, is_set in needed.items() if not is_set]


def _listening(config: QueueConfig) -> list[tuple[bool, str]]:
    """Return (what must hold, what to say otherwise) of whom the process lets connect."""
    missing = "; ".join(missing_protection(config, has_secret=bool(config.cluster_secret)))
    said = f"QUEUE_BIND_HOST={config.bind_host} lets other machines connect, which needs {missing}"
    return [
        (
            not missing or config.allow_insecure,
            f"{said} (or QUEUE_ALLOW_INSECURE=1, in a laboratory)",
        )
    ]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _values(config: QueueConfig) -> list[tuple[bool, str]]:
    """Return (what must hold, what to say otherwise) of single fields, beside their bounds."""
    addresses = [("QUEUE_MANAGER_ADDRESS", address) for address in config.manager_addresses]
    if config.current_address:
        addresses.append(("QUEUE_CURRENT_ADDRESS", config.current_address))
    return [
        (config.role in ROLES, f"QUEUE_ROLE must be one of {ROLES}, not {config.role!r}"),
        (config.raft_port <= 65_535, f"QUEUE_RAFT_PORT must be 1 to 65535, not {config.raft_port}"),
        (
            is_host_and_port(config.raft_address),
            f"QUEUE_RAFT_ADDRESS must be host:port, not {config.raft_address!r}",
        ),
        *(
            (is_address(address), f"{name} must be http://host:port, not {address!r}")
            for name, address in addresses
        ),
        (
            not config.cluster_secret or len(config.cluster_secret) >= SECRET_LENGTH_MIN,
            f"QUEUE_CLUSTER_SECRET must have at least {SECRET_LENGTH_MIN} characters",
        ),
    ]


def _combinations(config: QueueConfig) -> list[tuple[bool, str]]:
    """Return (what must hold, what to say otherwise) of fields that depend on each other."""
    return [
        (
            config.role != BROKER or config.port != config.raft_port,
            f"QUEUE_PORT and QUEUE_RAFT_PORT must differ, both are {config.port}",
        ),
        (
            config.role != BROKER or bool(config.manager_addresses),
            "QUEUE_MANAGER_ADDRESS must name at least one manager",
        ),
        (
            bool(config.current_address) or config.bind_host not in ("0.0.0.0", "::", ""),  # noqa: S104 - compared, not bound
            f"QUEUE_CURRENT_ADDRESS is needed when QUEUE_BIND_HOST is {config.bind_host!r}",
        ),
        (
            config.tail_bytes >= config.tail_bytes_per_group,
            "QUEUE_TAIL_BYTES must be at least QUEUE_TAIL_BYTES_PER_GROUP",
        ),
    ]


def _secured(config: QueueConfig) -> list[tuple[bool, str]]:
    """Return (what must hold, what to say otherwise) of the settings of TLS."""
    has_cert = config.tls_cert is not None
    given = [("QUEUE_MANAGER_ADDRESS", address) for address in config.manager_addresses]
    if config.current_address:
        given.append(("QUEUE_CURRENT_ADDRESS", config.current_address))
    return [
        (
            has_cert == (config.tls_key is not None),
            "QUEUE_TLS_CERT and QUEUE_TLS_KEY are set both, or neither",
        ),
        (
            not config.tls_client_certs or (has_cert and config.tls_ca is not None),
            "QUEUE_TLS_CLIENT_CERTS needs QUEUE_TLS_CERT, QUEUE_TLS_KEY and QUEUE_TLS_CA",
        ),
        *(
            (
                not has_cert or address.startswith("https:"),
                f"{name} must begin with https:// when QUEUE_TLS_CERT is set, not {address!r}",
            )
            for name, address in given
        ),
    ]


def _times(config: QueueConfig) -> list[tuple[bool, str]]:
    """Return (what must hold, what to say otherwise) of times that depend on each other."""
    return [
        (
            config.database_answer_timeout_ms > config.database_statement_timeout_ms,
            "QUEUE_DATABASE_ANSWER_TIMEOUT_MS must be above QUEUE_DATABASE_STATEMENT_TIMEOUT_MS",
        ),
        (
            config.election_timeout_ticks >= 10 * config.heartbeat_ticks,
            (
                f"QUEUE_ELECTION_TIMEOUT_TICKS must be at least {10 * config.heartbeat_ticks}, ten"
                f" QUEUE_HEARTBEAT_TICKS, not {config.election_timeout_ticks}"
            ),
        ),
        (
            config.quiesce_after_ticks == 0
            or config.quiesce_after_ticks >= config.election_timeout_ticks,
            (
                "QUEUE_QUIESCE_AFTER_TICKS must be 0 or at least QUEUE_ELECTION_TIMEOUT_TICKS,"
                f" {config.election_timeout_ticks}, not {config.quiesce_after_ticks}"
            ),
        ),
        (
            config.dead_after_s >= 2 * config.broker_heartbeat_s,
            (
                f"QUEUE_DEAD_AFTER_S must be at least {2 * config.broker_heartbeat_s}, two"
                f" QUEUE_BROKER_HEARTBEAT_S, not {config.dead_after_s}"
            ),
        ),
        (
            config.suspect_after_s >= 2 * config.broker_sign_s,
            (
                f"QUEUE_SUSPECT_AFTER_S must be at least {2 * config.broker_sign_s}, two"
                f" QUEUE_BROKER_SIGN_S, not {config.suspect_after_s}"
            ),
        ),
        *(
            (
                after_s >= config.dead_after_s,
                f"{name} must be at least QUEUE_DEAD_AFTER_S, {config.dead_after_s}, not {after_s}",
            )
            for name, after_s in (
                ("QUEUE_REPLACE_AFTER_S", config.replace_after_s),
                ("QUEUE_FORGET_AFTER_S", config.forget_after_s),
            )
        ),
    ]


def is_host_and_port(text: str) -> bool:
    """Tell whether `text` is `host:port` and nothing more."""
    return is_address(f"http://{text}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def is_address(text: str) -> bool:
    """Tell whether `text` is `http://host:port` and nothing more."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment or parts.username)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bool(port) and bare


def from_environment(environ: Mapping[str, str]) -> QueueConfig:
    """Read the configuration of this process.

    Args:
        environ: `os.environ`.

    Raises:
        ConfigError: a value or a combination is wrong.
    """
    role = read_setting(environ, ROLE_VARIABLE) or TEST
    if role == TEST:
        return QueueConfig(
            role=TEST,
            database_url=_database_url(environ),
            cluster_secret="the fixed secret of a test run",  # noqa: S106 - not a secret
        )
    given: dict[str, Any] = {
        field.encode_name: _readable(field.type, text)
        for field in fields(QueueConfig)
        if (text := read_setting(environ, field.encode_name))
    }
    given.setdefault("QUEUE_PORT", _DEFAULT_PORTS.get(role, 8000))
    given["QUEUE_DATABASE_URL"] = _database_url(environ)
    if "QUEUE_TLS_CERT" in given:
        given.setdefault("QUEUE_MANAGER_ADDRESS", ["https://127.0.0.1:8000"])
    given["QUEUE_CURRENT_ADDRESS"] = given.get("QUEUE_CURRENT_ADDRESS", "").rstrip("/")
    try:
        config = msgspec.convert(given, QueueConfig, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _refused(str(error), given) from None
    try:
        _ = config.tls
    except TlsError as error:
        raise ConfigError(str(error)) from error
    if "QUEUE_DATA_DIR" not in given:
        config = replace(config, data_dir=default_data_dir(role, config.port))
    if not config.cluster_secret:
        config = replace(config, cluster_secret=read_secret(secret_places(config.data_dir)))
    return config


def read_setting(environ: Mapping[str, str], variable: str) -> str:
    """Return the text of a variable, or of its older spelling; empty when neither is set.

    Args:
        environ: `os.environ`.
        variable: as `variable_of` names it.

    Raises:
        ConfigError: both are set, and differ.
    """
    older = older_spelling(variable)
    text, before = environ.get(variable, "").strip(), environ.get(older, "").strip()
    if text and before and text != before:
        raise ConfigError(
            f"{variable} and {older}, its older spelling, have different values: unset {older}"
        )
    return text or before


def ensure_role(environ: MutableMapping[str, str], role: str) -> str:
    """Return the role of this process: the one that is given, else `role`, which is put there.

    Raises:
        ConfigError: two different ones are given.
    """
    given = read_setting(environ, ROLE_VARIABLE)
    if not given:
        environ[ROLE_VARIABLE] = given = role
    return given


def without_settings(environ: Mapping[str, str], variables: Collection[str]) -> dict[str, str]:
    """Return the environment without these variables, however they are spelt."""
    older = {older_spelling(variable) for variable in variables if variable.startswith(PREFIX)}
    return {
        name: text for name, text in environ.items() if name not in variables and name not in older
    }


def not_read(environ: Mapping[str, str]) -> list[str]:
    """Return one line per variable that is not read but begins with or looks like one that is.

    Args:
        environ: `os.environ`.
    """
    known = {field.encode_name for field in fields(QueueConfig)}
    read = known | {older_spelling(variable) for variable in known}
    bare = {variable.removeprefix(PREFIX): variable for variable in known - {ROLE_VARIABLE}}
    bare |= {name.upper(): variable for name, variable in _VARIABLES.items()}
    lines = []
    for name in sorted(environ.keys() - read):
        is_ours = name.startswith(PREFIX)
        cutoff = FAR_MISS_RATIO if is_ours else NEAR_MISS_RATIO
        close = get_close_matches(name.removeprefix(PREFIX), bare, n=1, cutoff=cutoff)
        meant = bare[close[0]] if close else ""
        if meant and not {meant, older_spelling(meant)} & environ.keys():
            lines.append(f"{name} is not read; is {meant} meant?")
        elif is_ours:
            lines.append(f"{name} is not read: there is no such setting")
    return lines


def default_data_dir(role: str, port: int) -> Path:
    """Return where a process keeps its data when QUEUE_DATA_DIR does not say it."""
    return DATA_ROOT / (role if role == MANAGER else f"{role}-{port}")


def secret_places(data_dir: Path) -> list[Path]:
    """Return the files that may hold the secret of a process, in the order of their weight.

    The first is where one is made. Processes in `data` share one; a manager started alone once
    kept its own in its folder.
    """
    own = data_dir / SECRET_FILE
    if data_dir.parent == DATA_ROOT:
        return [*shared_secret_places(DATA_ROOT), own]
    return [own, data_dir.parent / SECRET_FILE]


def shared_secret_places(root: Path) -> list[Path]:
    """Return the files that may hold the secret of all processes below `root`."""
    return [root / SECRET_FILE, root / MANAGER / SECRET_FILE]


def read_secret(places: Sequence[Path]) -> str:
    """Return the secret in the first of these files that exists, or an empty text.

    Raises:
        ConfigError: the file cannot be read, holds no secret, or is somebody else's.
    """
    for path in places:
        try:
            status = path.stat()
            secret = path.read_text("ascii").strip()
            trusted = {0, os.geteuid(), path.parent.stat().st_uid}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        if status.st_uid not in trusted:
            raise ConfigError(f"{path} is not used: it belongs to user {status.st_uid}")
        if len(secret) < SECRET_LENGTH_MIN:
            raise ConfigError(f"{path} holds fewer than {SECRET_LENGTH_MIN} characters")
        return secret
    return ""


def ensure_secret(config: QueueConfig) -> QueueConfig:
    """Return `config` with a cluster secret; a new one is kept in a file (mode 0600).

    Raises:
        ConfigError: the file cannot be made.
    """
    if config.cluster_secret:
        return config
    return replace(config, cluster_secret=find_or_make_secret(secret_places(config.data_dir)))


def find_or_make_secret(places: Sequence[Path]) -> str:
    """Return the secret in one of these files, made anew in the first when there is none.

    Processes that start at once agree: the file appears with its content, and only once.

    Raises:
        ConfigError: a file cannot be used.
    """
    found = read_secret(places)
    if found:
        return found
    path = places[0]
    new: Path | None = None
    try:
        make_durable_directory(path.parent)
        descriptor, name = tempfile.mkstemp(".new", f"{SECRET_FILE}.", path.parent)
        new = Path(name)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(new)
        sync_directory(path.parent)
    except FileExistsError:
        if new is None:  # a file is where the directory should be
            raise ConfigError(f"{path.parent} cannot be used as a data directory") from None
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be used: {error.strerror}") from error
    finally:
        if new is not None:
            new.unlink()
    return read_secret(places)


def _database_url(environ: Mapping[str, str]) -> str:
    """Return QUEUE_DATABASE_URL when Django can use it."""
    url = read_setting(environ, "QUEUE_DATABASE_URL")
    if url:
        try:
            engine = dj_database_url.parse(url)["ENGINE"]
        except (
            dj_database_url.ParseError,
            dj_database_url.UnknownSchemeError,
            ValueError,
        ) as error:
            raise ConfigError(f"QUEUE_DATABASE_URL is no database URL: {error}") from error
        if not str(engine).endswith(("postgresql", "sqlite3")):
            raise ConfigError("QUEUE_DATABASE_URL must begin with postgres:// or sqlite://")
    return url


def _readable(kind: Any, text: str) -> str | list[str]:
    """Return the text of a variable as msgspec reads a value of this type."""
    if kind is bool:
        return _SWITCH_WORDS.get(text.lower(), text)
    if kind == tuple[str, ...]:
        parts = (part.strip().rstrip("/") for part in text.split(","))
        return [part for part in parts if part]
    return text


def _path(kind: type[Any], text: str) -> Path:
    """Return what msgspec does not read by itself."""
    assert kind is Path, kind
    return Path(text)


def _refused(said: str, given: Mapping[str, Any]) -> ConfigError:
    """Return the error for what msgspec says: "Expected `int` >= 1 - at `$.TICK_MS`"."""
    wanted, _, variable = said.rstrip("`").partition(" - at `$.")
    for start, meant in _WANTED.items():
        wanted = wanted.replace(start, meant, 1)
    if wanted.startswith("Invalid enum value"):
        [field] = (one for one in fields(QueueConfig) if one.encode_name == variable)
        wanted = " or ".join(get_args(field.type))
    return ConfigError(f"{variable} must be {wanted}, not {given[variable]!r}")


_WANTED = {
    "Expected `int`, got `str`": "a whole number",
    "Expected `bool`, got `str`": "1 or 0",
    "Expected `int` >= ": "at least ",
    "Expected `int` <= ": "at most ",
    "Expected `str` of length <= ": "no longer than ",
}
"""What msgspec says of a wrong value -> the same after "must be"."""
