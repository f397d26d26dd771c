from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import fields, replace

from queuesite.conf import (
    BROKER,
    MANAGER,
    SECRET_FILE,
    TEST,
    ConfigError,
    QueueConfig,
    ensure_role,
    ensure_secret,
    find_or_make_secret,
    from_environment,
    is_address,
    missing_protection,
    not_read,
    older_spelling,
    read_secret,
    read_setting,
    shared_secret_places,
    variable_of,
    without_settings,
)
from tests.certificates import Authority

BROKER_ENVIRON = {"QUEUE_ROLE": BROKER, "QUEUE_CLUSTER_SECRET": "a secret of this length"}


def broker(**variables: str) -> QueueConfig:
    return from_environment({**BROKER_ENVIRON, **variables})


def test_defaults_are_valid_in_each_role():
    for role in (MANAGER, BROKER, TEST):
        assert from_environment({"QUEUE_ROLE": role}).role == role


def test_defaults_follow_the_role():
    assert broker().port == 8001
    assert broker().data_dir == Path("data/broker-8001")
    assert from_environment({"QUEUE_ROLE": MANAGER}).data_dir == Path("data/manager")


def test_variables_are_read_and_converted():
    config = broker(
        QUEUE_PORT="8011",
        QUEUE_MANAGER_ADDRESS="http://a:1, http://b:2/",
        QUEUE_CURRENT_ADDRESS="http://c:3/",
        QUEUE_DATA_DIR="/var/lib/queue",
        QUEUE_TICK_MS="20",
        QUEUE_DEBUG="yes",
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
    assert broker(QUEUE_READ_ONLY=text).read_only is meant


def test_empty_variable_is_an_unset_one():
    assert broker(QUEUE_PORT="", QUEUE_TICK_MS=" ").port == 8001


def test_a_test_run_looks_at_the_database_alone():
    config = from_environment(
        {"QUEUE_ROLE": TEST, "QUEUE_PORT": "x", "QUEUE_DATABASE_URL": "postgres://u@h/d"}
    )
    assert config.port == 8000
    assert config.database_url == "postgres://u@h/d"
    assert from_environment({}).role == TEST


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"QUEUE_PORT": "x"}, "QUEUE_PORT must be a whole number, not 'x'"),
        ({"QUEUE_PORT": "0"}, "QUEUE_PORT must be at least 1, not '0'"),
        ({"QUEUE_PORT": "70000"}, "QUEUE_PORT must be at most 65535, not '70000'"),
        ({"QUEUE_PORT": "65000"}, "QUEUE_RAFT_PORT"),
        ({"QUEUE_RAFT_PORT": "-1"}, "QUEUE_RAFT_PORT"),
        ({"QUEUE_PORT": "8001", "QUEUE_RAFT_PORT": "8001"}, "QUEUE_RAFT_PORT"),
        ({"QUEUE_MANAGER_ADDRESS": "host:8000"}, "QUEUE_MANAGER_ADDRESS"),
        ({"QUEUE_MANAGER_ADDRESS": ","}, "QUEUE_MANAGER_ADDRESS"),
        ({"QUEUE_CURRENT_ADDRESS": "http://host"}, "QUEUE_CURRENT_ADDRESS"),
        ({"QUEUE_BIND_HOST": "0.0.0.0", "QUEUE_ALLOW_INSECURE": "1"}, "QUEUE_CURRENT_ADDRESS"),
        ({"QUEUE_READ_ONLY": "perhaps"}, "QUEUE_READ_ONLY must be 1 or 0, not 'perhaps'"),
        ({"QUEUE_TICK_MS": "0"}, "QUEUE_TICK_MS must be at least 1, not '0'"),
        ({"QUEUE_AUTH": "on"}, "QUEUE_AUTH must be off or required, not 'on'"),
        ({"QUEUE_LOG_FORMAT": "xml"}, "QUEUE_LOG_FORMAT must be text or json, not 'xml'"),
        ({"QUEUE_RACK": "r" * 65}, "QUEUE_RACK must be no longer than 64, not 'rrr"),
        ({"QUEUE_TICK_MS": "1.5"}, "QUEUE_TICK_MS must be a whole number, not '1.5'"),
        ({"QUEUE_ELECTION_TIMEOUT_TICKS": "19"}, "QUEUE_ELECTION_TIMEOUT_TICKS"),
        ({"QUEUE_QUIESCE_AFTER_TICKS": "19"}, "QUEUE_QUIESCE_AFTER_TICKS"),
        ({"QUEUE_DEAD_AFTER_S": "20"}, "QUEUE_DEAD_AFTER_S"),
        ({"QUEUE_SUSPECT_AFTER_S": "9"}, "QUEUE_SUSPECT_AFTER_S"),
        ({"QUEUE_REPLACE_AFTER_S": "59"}, "QUEUE_REPLACE_AFTER_S"),
        ({"QUEUE_FORGET_AFTER_S": "59"}, "QUEUE_FORGET_AFTER_S"),
        ({"QUEUE_TAIL_BYTES": "1"}, "QUEUE_TAIL_BYTES"),
        ({"QUEUE_DISK_RESERVE_BYTES": "-1"}, "QUEUE_DISK_RESERVE_BYTES"),
        (
            {"QUEUE_DATABASE_CONNECT_TIMEOUT_S": "1"},
            "QUEUE_DATABASE_CONNECT_TIMEOUT_S must be at least 2",
        ),
        ({"QUEUE_DATABASE_STATEMENT_TIMEOUT_MS": "-1"}, "QUEUE_DATABASE_STATEMENT_TIMEOUT_MS"),
        ({"QUEUE_DATABASE_ANSWER_TIMEOUT_MS": "4000"}, "above QUEUE_DATABASE_STATEMENT_TIMEOUT_MS"),
        ({"QUEUE_DATABASE_TCP_TIMEOUT_S": "4"}, "QUEUE_DATABASE_TCP_TIMEOUT_S must be at least 5"),
        ({"QUEUE_CLUSTER_SECRET": "short"}, "QUEUE_CLUSTER_SECRET"),
        ({"QUEUE_DATABASE_URL": "nonsense"}, "QUEUE_DATABASE_URL"),
        ({"QUEUE_DATABASE_URL": "mysql://h/d"}, "QUEUE_DATABASE_URL"),
        ({"QUEUE_ROLE": "king"}, "QUEUE_ROLE"),
    ],
)
def test_wrong_value_is_named_in_one_line(variables, named):
    with pytest.raises(ConfigError) as raised:
        broker(**variables)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_secret_in_the_message_of_a_database_is_never_shown():
    with pytest.raises(ConfigError) as raised:
        broker(QUEUE_DATABASE_URL="mysql://user:hunter2@h/d")
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
    made = secret_of({"QUEUE_ROLE": BROKER, "QUEUE_PORT": "8003"})
    assert read_secret([tmp_path / "data" / SECRET_FILE]) == made
    assert secret_of({"QUEUE_ROLE": MANAGER}) == made
    assert secret_of({"QUEUE_ROLE": BROKER}) == made
    assert secret_of({"QUEUE_ROLE": BROKER, "QUEUE_DATA_DIR": "data/elsewhere"}) == made
    assert len(list(tmp_path.rglob(f"{SECRET_FILE}*"))) == 1


def test_secret_that_a_lone_manager_kept_in_its_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = find_or_make_secret([Path("data/manager") / SECRET_FILE])
    assert secret_of({"QUEUE_ROLE": MANAGER}) == own
    assert secret_of({"QUEUE_ROLE": BROKER}) == own
    assert find_or_make_secret(shared_secret_places(tmp_path / "data")) == own


def test_secret_of_a_folder_elsewhere_is_in_it_or_beside_it(tmp_path):
    environ = {"QUEUE_ROLE": BROKER, "QUEUE_DATA_DIR": str(tmp_path / "one")}
    made = secret_of(environ)
    assert from_environment(environ).cluster_secret == made
    assert read_secret([tmp_path / "one" / SECRET_FILE]) == made
    other = {**environ, "QUEUE_DATA_DIR": str(tmp_path / "two")}
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
        {"QUEUE_ROLE": "broker", "QUEUE_PORT": "8101", "QUEUE_CLUSTER_SECRET": "s" * 16}
    )
    assert plain.raft_address == "127.0.0.1:9101"
    proxied = from_environment(
        {
            "QUEUE_ROLE": "broker",
            "QUEUE_PORT": "8101",
            "QUEUE_CLUSTER_SECRET": "s" * 16,
            "QUEUE_RAFT_ADDRESS": "proxy.example:7000",
        }
    )
    assert (proxied.raft_address, proxied.raft_port) == ("proxy.example:7000", 9101)


@pytest.mark.parametrize("wrong", ["nowhere", "host:", "host:99999", "http://host:1", "a b:1/x"])
def test_address_for_peers_must_be_host_and_port(wrong):
    with pytest.raises(ConfigError, match="QUEUE_RAFT_ADDRESS"):
        from_environment(
            {
                "QUEUE_ROLE": "broker",
                "QUEUE_CLUSTER_SECRET": "s" * 16,
                "QUEUE_RAFT_ADDRESS": wrong,
            }
        )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MANAGER_ADDRESSES", "QUEUE_MANAGER_ADDRESS"),
        ("KNOWN_RAFT_ADDRESS", "QUEUE_RAFT_ADDRESS"),
        ("DEAD_AFTER", "QUEUE_DEAD_AFTER_S"),
        ("TICKS_MS", "QUEUE_TICK_MS"),
        ("QUEUE_TICKS_MS", "QUEUE_TICK_MS"),
        ("QUEUE_DATADIR", "QUEUE_DATA_DIR"),
        ("QUEUE_MANAGER_ADDRESSES", "QUEUE_MANAGER_ADDRESS"),
        ("QUEUE_KNOWN_RAFT_ADDRESS", "QUEUE_RAFT_ADDRESS"),
    ],
)
def test_variable_that_is_almost_right_is_told(name, meant):
    assert not_read({name: "1", "PATH": "/bin"}) == [f"{name} is not read; is {meant} meant?"]
    both = not_read({name: "1", meant: "1"})
    assert both == [f"{name} is not read: there is no such setting"] * name.startswith("QUEUE_")


def test_variable_with_the_prefix_that_is_like_none_is_told_too():
    said = not_read({"QUEUE_XYZZY": "1", "QUEUE_PORT": "1", "DATA_DIR": "x", "QUEUESITE_ROLE": "a"})
    assert said == ["QUEUE_XYZZY is not read: there is no such setting"]


def test_every_setting_is_read_in_its_older_spelling_too():
    for field in fields(QueueConfig):
        variable = variable_of(field.name)
        older = older_spelling(variable)
        assert older == ("QUEUESITE_ROLE" if field.name == "role" else variable[len("QUEUE_") :])
        assert read_setting({older: " 5 "}, variable) == "5"
        assert read_setting({older: "5", variable: ""}, variable) == "5"
        assert read_setting({older: "5", variable: "5"}, variable) == "5"
    config = from_environment(
        {"QUEUESITE_ROLE": BROKER, "PORT": "8007", "TICK_MS": "20", "MANAGER_ADDRESS": "http://a:1"}
    )
    assert (config.role, config.port, config.tick_ms) == (BROKER, 8007, 20)
    assert config.manager_addresses == ("http://a:1",)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"QUEUE_PORT": "8001", "PORT": "8002"}, ("QUEUE_PORT", "PORT")),
        ({"QUEUE_CLUSTER_SECRET": "a" * 16, "CLUSTER_SECRET": "b" * 16}, ("CLUSTER_SECRET",)),
        ({"QUEUE_DATABASE_URL": "sqlite:///a", "DATABASE_URL": "sqlite:///b"}, ("DATABASE_URL",)),
        ({"QUEUE_ROLE": MANAGER, "QUEUESITE_ROLE": BROKER}, ("QUEUE_ROLE", "QUEUESITE_ROLE")),
    ],
)
def test_two_values_of_one_setting_are_refused_in_one_line(variables, named):
    with pytest.raises(ConfigError, match="have different values") as raised:
        from_environment({"QUEUE_ROLE": BROKER, **variables})
    said = str(raised.value)
    assert all(name in said for name in named)
    assert "\n" not in said
    assert not any(text in said for text in ("a" * 16, "b" * 16, "sqlite:"))


def test_role_is_put_there_only_where_none_is_given():
    for given in ({"QUEUE_ROLE": BROKER}, {"QUEUESITE_ROLE": BROKER}):
        environ = dict(given)
        assert ensure_role(environ, MANAGER) == BROKER
        assert environ == given
    environ = {}
    assert ensure_role(environ, MANAGER) == MANAGER
    assert environ == {"QUEUE_ROLE": MANAGER}


def test_settings_are_taken_away_in_both_spellings():
    environ = {"QUEUE_PORT": "1", "PORT": "1", "DATA_DIR": "x", "QUEUESITE_ROLE": "a", "PATH": "/"}
    assert without_settings(environ, {"QUEUE_PORT", "QUEUE_ROLE"}) == {"DATA_DIR": "x", "PATH": "/"}


def test_variables_of_others_are_not_told():
    usual = "PATH HOME LANG XDG_DATA_DIRS SSH_AUTH_SOCK DATABASE_HOST REDIS_PORT DISPLAY ROLE"
    assert not_read(dict.fromkeys(usual.split(), "1")) == []


@pytest.fixture
def files(tmp_path):
    issued = Authority(tmp_path).issue()
    return {"QUEUE_TLS_CERT": str(issued.cert), "QUEUE_TLS_KEY": str(issued.key)}


def test_addresses_of_a_process_with_a_certificate_begin_with_https(files):
    config = broker(**files)
    assert config.address == "https://127.0.0.1:8001"
    assert config.manager_addresses == ("https://127.0.0.1:8000",)
    assert config.tls.serving is not None
    assert broker(**files, QUEUE_MANAGER_ADDRESS="https://a:1").manager_addresses == (
        "https://a:1",
    )


def test_settings_of_tls_that_do_not_fit_are_said(files):
    for variables, said in (
        (
            {"QUEUE_TLS_CERT": files["QUEUE_TLS_CERT"]},
            "QUEUE_TLS_CERT and QUEUE_TLS_KEY are set both, or neither",
        ),
        (
            {"QUEUE_TLS_KEY": files["QUEUE_TLS_KEY"]},
            "QUEUE_TLS_CERT and QUEUE_TLS_KEY are set both, or neither",
        ),
        (
            {**files, "QUEUE_TLS_CLIENT_CERTS": "1"},
            "QUEUE_TLS_CLIENT_CERTS needs QUEUE_TLS_CERT, QUEUE_TLS_KEY and QUEUE_TLS_CA",
        ),
        (
            {**files, "QUEUE_CURRENT_ADDRESS": "http://a:1"},
            "QUEUE_CURRENT_ADDRESS must begin with https://",
        ),
        (
            {**files, "QUEUE_MANAGER_ADDRESS": "https://a:1,http://b:1"},
            "QUEUE_MANAGER_ADDRESS must begin with https:// when QUEUE_TLS_CERT is set, not 'http://b:1'",
        ),
        ({**files, "QUEUE_TLS_KEY": files["QUEUE_TLS_CERT"]}, "QUEUE_TLS_CERT, QUEUE_TLS_KEY: "),
        (
            {"QUEUE_TLS_CA": "missing"},
            "QUEUE_TLS_CA: the authorities in missing cannot be read: No such file",
        ),
    ):
        with pytest.raises(ConfigError) as raised:
            broker(**variables)
        assert str(raised.value).startswith(said)


OPEN = {"QUEUE_BIND_HOST": "10.0.0.2"}
PROTECTED = {**OPEN, "QUEUE_AUTH": "required", "QUEUE_BEHIND_PROXY": "1"}


def test_listening_beyond_loopback_needs_protection(files):
    secret = BROKER_ENVIRON["QUEUE_CLUSTER_SECRET"]
    for variables, missing in (
        (
            OPEN,
            (
                "QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and QUEUE_TLS_KEY,"
                " or QUEUE_BEHIND_PROXY=1"
            ),
        ),
        ({**PROTECTED, "QUEUE_AUTH": "off", "QUEUE_CLUSTER_SECRET": secret}, "QUEUE_AUTH=required"),
        (PROTECTED, "QUEUE_CLUSTER_SECRET"),
        (
            {**PROTECTED, "QUEUE_BEHIND_PROXY": "0", "QUEUE_CLUSTER_SECRET": secret},
            "QUEUE_TLS_CERT and QUEUE_TLS_KEY, or QUEUE_BEHIND_PROXY=1",
        ),
        (
            {**OPEN, "QUEUE_BIND_HOST": "::"},
            "QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and",
        ),
        (
            {**OPEN, "QUEUE_BIND_HOST": "a.host"},
            "QUEUE_AUTH=required; QUEUE_CLUSTER_SECRET; QUEUE_TLS_CERT and",
        ),
    ):
        for role in (BROKER, MANAGER):
            with pytest.raises(ConfigError) as raised:
                from_environment({"QUEUE_ROLE": role, **variables})
            line = str(raised.value)
            assert f"lets other machines connect, which needs {missing}" in line
            assert "\n" not in line
        insecure = {
            "QUEUE_ROLE": BROKER,
            "QUEUE_ALLOW_INSECURE": "1",
            "QUEUE_CURRENT_ADDRESS": "http://a:1",
        }
        assert from_environment({**variables, **insecure}).allow_insecure
    assert broker(**PROTECTED).behind_proxy
    assert broker(**{**PROTECTED, "QUEUE_BEHIND_PROXY": "0", **files}).tls_cert


def test_secret_that_the_first_process_made_is_none_that_somebody_chose(tmp_path):
    find_or_make_secret([tmp_path / SECRET_FILE])
    with pytest.raises(ConfigError, match="which needs QUEUE_CLUSTER_SECRET "):
        from_environment({"QUEUE_ROLE": BROKER, "QUEUE_DATA_DIR": str(tmp_path), **PROTECTED})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_none(host):
    config = from_environment({"QUEUE_ROLE": BROKER, "QUEUE_BIND_HOST": host})
    assert missing_protection(config, has_secret=False) == []


def test_address_of_ip_version_6_has_brackets():
    config = broker(QUEUE_BIND_HOST="::1")
    assert config.address == "http://[::1]:8001"
    assert config.raft_address == "[::1]:9001"


def test_hosts_are_those_of_the_configuration_and_what_is_named():
    config = broker(
        QUEUE_CURRENT_ADDRESS="http://queue-1:8001",
        QUEUE_MANAGER_ADDRESS="http://queue-0:8000,http://[fd00::1]:8000",
        QUEUE_ALLOWED_HOSTS="queue.example.org, .inside.test",
    )
    assert config.hosts == [
        *("queue-1", "queue-0", "[fd00::1]", "localhost", "127.0.0.1", "[::1]"),
        *("queue.example.org", ".inside.test"),
    ]
