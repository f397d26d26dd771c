"""What deploy/ holds is well-formed, and names settings, files and paths that there are."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sysconfig
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from deploy.image.healthcheck import is_alive
from queuesite.conf import from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yml"
MANIFESTS = DEPLOY / "kubernetes" / "cluster.yaml"
COMMANDS = Path(sysconfig.get_path("scripts"))
FOREIGN = {"DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_PASSWORD", "POD_NAME", "PYTHONUNBUFFERED"}
"""Variables that are none of the product's settings."""
KUBERNETES = "1.33"


def settings_of_the_product() -> set[str]:
    """Return the variables of the configuration's reference, which a test holds to the code."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) | {"QUEUE_LOG_FORMAT"}


def compose() -> dict[str, Any]:
    """Return the services of the compose file that run our image."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    return {name: one for name, one in services.items() if one["image"] == "queuesite"}


def manifests() -> list[dict[str, Any]]:
    """Return the manifests."""
    return list(yaml.safe_load_all(MANIFESTS.read_text()))


def unit_variables(name: str) -> dict[str, str]:
    """Return the variables of a file for a unit."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# --- the image ----------------------------------------------------------------------------------


def test_image_file_passes_its_linter() -> None:
    subprocess.run([COMMANDS / "hadolint", DEPLOY / "image" / "Dockerfile"], check=True)


def test_image_is_built_from_what_there_is() -> None:
    text = (DEPLOY / "image" / "Dockerfile").read_text()
    sources = [
        source
        for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((ROOT / source).exists() for source in sources), sources
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(sources) == sorted(let_in)
    assert re.search(r"^USER 10001", text, re.MULTILINE)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        yield made


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_health_check_asks_the_server_of_its_container(
    server: ThreadingHTTPServer,
    host: str,
    encrypted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUEUE_BIND_HOST", host)
    monkeypatch.setenv("QUEUE_PORT", str(server.server_port))
    monkeypatch.delenv("QUEUE_TLS_CERT", raising=False)
    if encrypted:
        made = certificates(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made / "broker-1/server.pem", made / "broker-1/server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        monkeypatch.setenv("QUEUE_TLS_CERT", str(made / "broker-1/server.pem"))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    assert is_alive()
    assert not is_alive("/elsewhere")
    server.shutdown()
    thread.join()
    server.server_close()
    assert not is_alive()


# --- compose ------------------------------------------------------------------------------------


def certificates(directory: Path) -> Path:
    """Run the script that makes secrets in a copy of its folder; return the certificates."""
    folder = directory / "compose"
    shutil.copytree(DEPLOY / "compose", folder, dirs_exist_ok=True)
    me = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(
        ["sh", folder / "secrets.sh"], check=True, env={"PATH": "/usr/bin:/bin", "OWNER": me}
    )
    return folder / "tls"


def test_compose_file_keeps_to_its_specification() -> None:
    subprocess.run(
        [COMMANDS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        check=True,
        capture_output=True,
    )


def test_each_service_of_compose_has_a_certificate_and_a_configuration_that_is_taken(
    tmp_path: Path,
) -> None:
    made = certificates(tmp_path)
    text = (made.parent / ".env").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines())
    for name, service in compose().items():
        variables = {
            key: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: given[found[1]], str(value))
            for key, value in service["environment"].items()
        }
        assert variables.keys() <= settings_of_the_product() | FOREIGN, name
        files = {
            key: value.replace("/tls", str(made / name), 1)
            for key, value in variables.items()
            if value.startswith("/tls/")
        }
        assert len(files) == 3
        (role,) = service["command"]
        config = from_environment({**variables, **files, "QUEUE_ROLE": role})
        assert config.current_address.startswith(f"https://{name}:")
        context = ssl.create_default_context(cafile=made / "ca.pem")
        context.load_cert_chain(files["QUEUE_TLS_CERT"], files["QUEUE_TLS_KEY"])
        assert name in str(ssl._ssl._test_decode_cert(files["QUEUE_TLS_CERT"])["subjectAltName"])  # type: ignore[attr-defined]


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    before = {path: path.read_bytes() for path in [*made.rglob("*.key"), made.parent / ".env"]}
    assert len(before) == 7
    assert {path.stat().st_mode & 0o077 for path in before} == {0}
    subprocess.run(["sh", made.parent / "secrets.sh"], check=True, env={"PATH": "/usr/bin:/bin"})
    assert {path: path.read_bytes() for path in before} == before


def test_prometheus_of_compose_scrapes_every_server() -> None:
    scraped = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    targets = {target for group in job["static_configs"] for target in group["targets"]}
    addresses = {one["environment"]["QUEUE_CURRENT_ADDRESS"] for one in compose().values()}
    assert targets == {address.removeprefix("https://") for address in addresses}


# --- Kubernetes ---------------------------------------------------------------------------------


def test_manifests_are_valid_and_name_known_settings() -> None:
    for manifest in manifests():
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    shared = next(one["data"] for one in manifests() if one["kind"] == "ConfigMap")
    for one in manifests():
        if one["kind"] != "StatefulSet":
            continue
        (container,) = one["spec"]["template"]["spec"]["containers"]
        names = {entry["name"] for entry in container["env"]} | shared.keys()
        assert names <= settings_of_the_product() | FOREIGN
        paths = {
            container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert paths == {"/healthz", "/readyz"}
        hosts = re.findall(r"https://([^:,]+)", str(container["env"]))
        services = {made["metadata"]["name"] for made in manifests() if made["kind"] == "Service"}
        assert {host.rpartition(".")[2] for host in hosts} <= services


def test_a_quorum_of_brokers_stays_when_nodes_are_drained() -> None:
    budgets = [one for one in manifests() if one["kind"] == "PodDisruptionBudget"]
    assert {one["spec"]["maxUnavailable"] for one in budgets} == {1}


# --- systemd ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["queuesite-manager.service", "queuesite-broker@.service"])
def test_units_are_understood_by_systemd(unit: str, tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    text = (DEPLOY / "systemd" / unit).read_text()
    here = tmp_path / unit.replace("@", "@8001")
    here.write_text(text.replace("/opt/queuesite/bin/queuesite", "/bin/true"))
    done = subprocess.run(
        [verifier, "verify", "--man=no", here], capture_output=True, text=True, check=False
    )
    assert str(here) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", ["manager", "broker"])
def test_settings_of_the_units_are_known(role: str) -> None:
    assert unit_variables(f"{role}.env").keys() <= settings_of_the_product()
