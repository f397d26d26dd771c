from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from queuesite.conf import (
    BROKER,
    MANAGER,
    SECRET_FILE,
    TEST,
    ConfigError,
    QueueConfig,
    ensure_secret,
    find_or_make_secret,
    from_environment,
    is_address,
    missing_protection,
    near_misses,
    read_secret,
    shared_secret_places,
)
from tests.certificates import Authority

BROKER_ENVIRON = {"QUEUESITE_ROLE": BROKER, "CLUSTER_SECRET": "a secret of this length"}


def broker(**variables: str) -> QueueConfig:
    return from_environment({**BROKER_ENVIRON, **variables})


def test_defaults_are_valid_in_each_role():
    for role in (MANAGER, BROKER, TEST):
        assert from_environment({"QUEUESITE_ROLE": role}).role == role


def test_defaults_follow_the_role():
    assert broker().port == 8001
    assert broker().data_dir == Path("data/broker-8001")
    assert from_environment({"QUEUESITE_ROLE": MANAGER}).data_dir == Path("data/manager")


def test_variables_are_read_and_converted():
    config = broker(
        PORT="8011",
        MANAGER_ADDRESS="http://a:1, http://b:2/",
        CURRENT_ADDRESS="http://c:3/",
        DATA_DIR="/var/lib/queue",
        TICK_MS="20",
        DEBUG="yes",
    )
    assert config.port == 8011
    assert config.raft_port == 9011
    assert config.manager_addresses == ("http://a:1", "http://b:2")
    assert config.address == "http://c:3"
    assert config.raft_address == "c:9011"
    assert config.data_dir == Path("/var/lib/queue")
    assert config.tick_ms == 20
    assert config.debug is True


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", True), ("TRUE", True), ("Yes", True), ("on", True), ("0", False), ("off", False)],
)
def test_switches_are_read_in_the_usual_words(text, meant):
    assert broker(READ_ONLY=text).read_only is meant


def test_empty_variable_is_an_unset_one():
    assert broker(PORT="", TICK_MS=" ").port == 8001


def test_a_test_run_looks_at_the_database_alone():
    config = from_environment(
        {"QUEUESITE_ROLE": TEST, "PORT": "x", "DATABASE_URL": "postgres://u@h/d"}
    )
    assert config.port == 8000
    assert config.database_url == "postgres://u@h/d"
    assert from_environment({}).role == TEST


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"PORT": "x"}, "PORT must be a whole number, not 'x'"),
        ({"PORT": "0"}, "PORT must be at least 1, not '0'"),
        ({"PORT": "70000"}, "PORT must be at most 65535, not '70000'"),
        ({"PORT": "65000"}, "RAFT_PORT"),
        ({"RAFT_PORT": "-1"}, "RAFT_PORT"),
        ({"PORT": "8001", "RAFT_PORT": "8001"}, "RAFT_PORT"),
        ({"MANAGER_ADDRESS": "host:8000"}, "MANAGER_ADDRESS"),
        ({"MANAGER_ADDRESS": ","}, "MANAGER_ADDRESS"),
        ({"CURRENT_ADDRESS": "http://host"}, "CURRENT_ADDRESS"),
        ({"BIND_HOST": "0.0.0.0", "ALLOW_INSECURE": "1"}, "CURRENT_ADDRESS"),
        ({"READ_ONLY": "perhaps"}, "READ_ONLY must be 1 or 0, not 'perhaps'"),
        ({"TICK_MS": "0"}, "TICK_MS must be at least 1, not '0'"),
        ({"AUTH": "on"}, "AUTH must be off or required, not 'on'"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be text or json, not 'xml'"),
        ({"RACK": "r" * 65}, "RACK must be no longer than 64, not 'rrr"),
        ({"TICK_MS": "1.5"}, "TICK_MS must be a whole number, not '1.5'"),
        ({"ELECTION_TIMEOUT_TICKS": "19"}, "ELECTION_TIMEOUT_TICKS"),
        ({"QUIESCE_AFTER_TICKS": "19"}, "QUIESCE_AFTER_TICKS"),
        ({"DEAD_AFTER_S": "20"}, "DEAD_AFTER_S"),
        ({"SUSPECT_AFTER_S": "9"}, "SUSPECT_AFTER_S"),
        ({"REPLACE_AFTER_S": "59"}, "REPLACE_AFTER_S"),
        ({"FORGET_AFTER_S": "59"}, "FORGET_AFTER_S"),
        ({"TAIL_BYTES": "1"}, "TAIL_BYTES"),
        ({"DISK_RESERVE_BYTES": "-1"}, "DISK_RESERVE_BYTES"),
        ({"DATABASE_CONNECT_TIMEOUT_S": "1"}, "DATABASE_CONNECT_TIMEOUT_S must be at least 2"),
        ({"DATABASE_STATEMENT_TIMEOUT_MS": "-1"}, "DATABASE_STATEMENT_TIMEOUT_MS"),
        ({"DATABASE_ANSWER_TIMEOUT_MS": "4000"}, "above DATABASE_STATEMENT_TIMEOUT_MS"),
        ({"DATABASE_TCP_TIMEOUT_S": "4"}, "DATABASE_TCP_TIMEOUT_S must be at least 5"),
        ({"CLUSTER_SECRET": "short"}, "CLUSTER_SECRET"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL"),
        ({"QUEUESITE_ROLE": "king"}, "QUEUESITE_ROLE"),
    ],
)
def test_wrong_value_is_named_in_one_line(variables, named):
    with pytest.raises(ConfigError) as raised:
        broker(**variables)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_secret_in_the_message_of_a_database_is_never_shown():
    with pytest.raises(ConfigError) as raised:
        broker(DATABASE_URL="mysql://user:hunter2@h/d")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://queue.example:443", True),
        ("http://[::1]:8000", True),
        ("http://host:8000/path", False),
        ("http://host:99999", False),
        ("ftp://host:21", False),
        ("http://u@host:1", False),
        ("", False),
    ],
)
def test_addresses_are_a_scheme_a_host_and_a_port(text, good):
    assert is_address(text) is good


def secret_of(environ: dict[str, str]) -> str:
    """Return the secret with which a process starts."""
    return ensure_secret(from_environment(environ)).cluster_secret


def test_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    places = [tmp_path / "new" / "place" / SECRET_FILE]
    secret = find_or_make_secret(places)
    assert find_or_make_secret(places) == secret == read_secret(places)
    assert stat.S_IMODE(places[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(places[0].parent.stat().st_mode) == 0o700
    assert [path.name for path in places[0].parent.iterdir()] == [SECRET_FILE]


def test_processes_that_start_at_once_agree_on_a_secret(tmp_path):
    """They are all beyond the look at what is there when the first one makes it."""
    places = [tmp_path / SECRET_FILE]
    starting = threading.Barrier(8)

    def look_first(files):
        if not starting.broken and not files[0].exists():
            starting.wait(20)
        return read_secret(files)

    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(8) as pool,
    ):
        patch.setattr("queuesite.conf.read_secret", look_first)
        secrets = set(pool.map(lambda _: find_or_make_secret(places), range(8)))
    assert len(secrets) == 1
    assert secrets == {read_secret(places)}
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_given_secret_is_not_written_down(tmp_path):
    config = replace(QueueConfig(), data_dir=tmp_path, cluster_secret="x" * 20)
    assert ensure_secret(config) is config
    assert not list(tmp_path.iterdir())


def test_processes_in_one_folder_share_a_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = secret_of({"QUEUESITE_ROLE": BROKER, "PORT": "8003"})
    assert read_secret([tmp_path / "data" / SECRET_FILE]) == made
    assert secret_of({"QUEUESITE_ROLE": MANAGER}) == made
    assert secret_of({"QUEUESITE_ROLE": BROKER}) == made
    assert secret_of({"QUEUESITE_ROLE": BROKER, "DATA_DIR": "data/elsewhere"}) == made
    assert len(list(tmp_path.rglob(f"{SECRET_FILE}*"))) == 1


def test_secret_that_a_lone_manager_kept_in_its_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = find_or_make_secret([Path("data/manager") / SECRET_FILE])
    assert secret_of({"QUEUESITE_ROLE": MANAGER}) == own
    assert secret_of({"QUEUESITE_ROLE": BROKER}) == own
    assert find_or_make_secret(shared_secret_places(tmp_path / "data")) == own


def test_secret_of_a_folder_elsewhere_is_in_it_or_beside_it(tmp_path):
    environ = {"QUEUESITE_ROLE": BROKER, "DATA_DIR": str(tmp_path / "one")}
    made = secret_of(environ)
    assert from_environment(environ).cluster_secret == made
    assert read_secret([tmp_path / "one" / SECRET_FILE]) == made
    other = {**environ, "DATA_DIR": str(tmp_path / "two")}
    assert not from_environment(other).cluster_secret
    shared = find_or_make_secret([tmp_path / SECRET_FILE])
    assert from_environment(other).cluster_secret == shared
    assert from_environment(environ).cluster_secret == made


def test_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        find_or_make_secret([tmp_path / "file" / SECRET_FILE])


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_file_without_a_secret_is_refused_and_not_replaced(tmp_path, content):
    path = tmp_path / SECRET_FILE
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"{SECRET_FILE} holds fewer than 16 characters"):
        find_or_make_secret([path])
    assert path.read_text() == content


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_secret_that_another_user_put_there_is_not_used(tmp_path):
    path = tmp_path / SECRET_FILE
    path.write_text("known to somebody else")
    os.chown(path, 65_534, -1)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        read_secret([path])
    os.chown(tmp_path, 65_534, -1)
    assert read_secret([path]) == "known to somebody else"


def test_peers_reach_a_broker_where_it_listens_unless_told_otherwise():
    plain = from_environment(
        {"QUEUESITE_ROLE": "broker", "PORT": "8101", "CLUSTER_SECRET": "s" * 16}
    )
    assert plain.raft_address == "127.0.0.1:9101"
    proxied = from_environment(
        {
            "QUEUESITE_ROLE": "broker",
            "PORT": "8101",
            "CLUSTER_SECRET": "s" * 16,
            "RAFT_ADDRESS": "proxy.example:7000",
        }
    )
    assert (proxied.raft_address, proxied.raft_port) == ("proxy.example:7000", 9101)


@pytest.mark.parametrize("wrong", ["nowhere", "host:", "host:99999", "http://host:1", "a b:1/x"])
def test_address_for_peers_must_be_host_and_port(wrong):
    with pytest.raises(ConfigError, match="RAFT_ADDRESS"):
        from_environment(
            {
                "QUEUESITE_ROLE": "broker",
                "CLUSTER_SECRET": "s" * 16,
                "RAFT_ADDRESS": wrong,
            }
        )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MANAGER_ADDRESSES", "MANAGER_ADDRESS"),
        ("KNOWN_RAFT_ADDRESS", "RAFT_ADDRESS"),
        ("DEAD_AFTER", "DEAD_AFTER_S"),
        ("TICKS_MS", "TICK_MS"),
    ],
)
def test_variable_that_is_almost_right_is_told(name, meant):
    assert near_misses({name: "1", "PATH": "/bin"}) == [f"{name} is not read; is {meant} meant?"]
    assert near_misses({name: "1", meant: "1"}) == []


def test_variables_of_others_are_not_told():
    usual = "PATH HOME LANG XDG_DATA_DIRS SSH_AUTH_SOCK DATABASE_HOST REDIS_PORT DISPLAY ROLE"
    assert near_misses(dict.fromkeys(usual.split(), "1")) == []


@pytest.fixture
def files(tmp_path):
    issued = Authority(tmp_path).issue()
    return {"TLS_CERT": str(issued.cert), "TLS_KEY": str(issued.key)}


def test_addresses_of_a_process_with_a_certificate_begin_with_https(files):
    config = broker(**files)
    assert config.address == "https://127.0.0.1:8001"
    assert config.manager_addresses == ("https://127.0.0.1:8000",)
    assert config.tls.serving is not None
    assert broker(**files, MANAGER_ADDRESS="https://a:1").manager_addresses == ("https://a:1",)


def test_settings_of_tls_that_do_not_fit_are_said(files):
    for variables, said in (
        ({"TLS_CERT": files["TLS_CERT"]}, "TLS_CERT and TLS_KEY are set both, or neither"),
        ({"TLS_KEY": files["TLS_KEY"]}, "TLS_CERT and TLS_KEY are set both, or neither"),
        ({**files, "TLS_CLIENT_CERTS": "1"}, "TLS_CLIENT_CERTS needs TLS_CERT, TLS_KEY and TLS_CA"),
        ({**files, "CURRENT_ADDRESS": "http://a:1"}, "CURRENT_ADDRESS must begin with https://"),
        (
            {**files, "MANAGER_ADDRESS": "https://a:1,http://b:1"},
            "MANAGER_ADDRESS must begin with https:// when TLS_CERT is set, not 'http://b:1'",
        ),
        ({**files, "TLS_KEY": files["TLS_CERT"]}, "TLS_CERT, TLS_KEY: "),
        ({"TLS_CA": "missing"}, "TLS_CA: the authorities in missing cannot be read: No such file"),
    ):
        with pytest.raises(ConfigError) as raised:
            broker(**variables)
        assert str(raised.value).startswith(said)


OPEN = {"BIND_HOST": "10.0.0.2"}
PROTECTED = {**OPEN, "AUTH": "required", "BEHIND_PROXY": "1"}


def test_listening_beyond_loopback_needs_protection(files):
    secret = BROKER_ENVIRON["CLUSTER_SECRET"]
    for variables, missing in (
        (OPEN, "AUTH=required; CLUSTER_SECRET; TLS_CERT and TLS_KEY, or BEHIND_PROXY=1"),
        ({**PROTECTED, "AUTH": "off", "CLUSTER_SECRET": secret}, "AUTH=required"),
        (PROTECTED, "CLUSTER_SECRET"),
        (
            {**PROTECTED, "BEHIND_PROXY": "0", "CLUSTER_SECRET": secret},
            "TLS_CERT and TLS_KEY, or BEHIND_PROXY=1",
        ),
        ({**OPEN, "BIND_HOST": "::"}, "AUTH=required; CLUSTER_SECRET; TLS_CERT and"),
        ({**OPEN, "BIND_HOST": "a.host"}, "AUTH=required; CLUSTER_SECRET; TLS_CERT and"),
    ):
        for role in (BROKER, MANAGER):
            with pytest.raises(ConfigError) as raised:
                from_environment({"QUEUESITE_ROLE": role, **variables})
            line = str(raised.value)
            assert f"lets other machines connect, which needs {missing}" in line
            assert "\n" not in line
        insecure = {
            "QUEUESITE_ROLE": BROKER,
            "ALLOW_INSECURE": "1",
            "CURRENT_ADDRESS": "http://a:1",
        }
        assert from_environment({**variables, **insecure}).allow_insecure
    assert broker(**PROTECTED).behind_proxy
    assert broker(**{**PROTECTED, "BEHIND_PROXY": "0", **files}).tls_cert


def test_secret_that_the_first_process_made_is_none_that_somebody_chose(tmp_path):
    find_or_make_secret([tmp_path / SECRET_FILE])
    with pytest.raises(ConfigError, match="which needs CLUSTER_SECRET "):
        from_environment({"QUEUESITE_ROLE": BROKER, "DATA_DIR": str(tmp_path), **PROTECTED})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_none(host):
    config = from_environment({"QUEUESITE_ROLE": BROKER, "BIND_HOST": host})
    assert missing_protection(config, has_secret=False) == []


def test_address_of_ip_version_6_has_brackets():
    config = broker(BIND_HOST="::1")
    assert config.address == "http://[::1]:8001"
    assert config.raft_address == "[::1]:9001"


def test_hosts_are_those_of_the_configuration_and_what_is_named():
    config = broker(
        CURRENT_ADDRESS="http://queue-1:8001",
        MANAGER_ADDRESS="http://queue-0:8000,http://[fd00::1]:8000",
        ALLOWED_HOSTS="queue.example.org, .inside.test",
    )
    assert config.hosts == [
        *("queue-1", "queue-0", "[fd00::1]", "localhost", "127.0.0.1", "[::1]"),
        *("queue.example.org", ".inside.test"),
    ]
