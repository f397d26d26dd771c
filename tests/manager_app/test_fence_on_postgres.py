"""Writes of metadata and take-overs of the lease that meet, on a private PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manager_app.postgres import required_postgres

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys, threading, time
os.environ["DJANGO_SETTINGS_MODULE"] = "queuesite.settings"
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from manager_app.models import Cluster, Topic
from manager_app.fence import write_under
from manager_app.services import cluster
from myqueue.contract.errors import ReadOnlyManager

call_command("migrate", verbosity=0)
first = cluster.lease_take("http://a:1", seen=cluster.cluster_ensure())
write_under(lambda: first)
taken, taking, renewed = [], threading.Event(), []

def take_over():
    taking.set()
    taken.append(cluster.lease_take("http://b:1", seen=Cluster.objects.get()))
    connection.close()

def renew():
    renewed.append(cluster.lease_renew("http://a:1", epoch=first))
    connection.close()

def make(name):
    Topic.objects.create(name=name, partitions_at_creation=1, replication_factor=1)

with fence():
    make("before")
    renewing = threading.Thread(target=renew)
    if not bumps:
        renewing.start()
        renewing.join(5)
        assert renewed == [True], "a renewal waits for a write"
    thread = threading.Thread(target=take_over)
    thread.start()
    taking.wait()
    time.sleep(0.5)
    assert taken == [], "taken over in the middle of a write"
thread.join(10)
assert taken == [first + 1], taken
assert Topic.objects.filter(name="before").exists()
try:
    with fence():
        make("after")
except ReadOnlyManager as error:
    assert error.details["primary"] == "http://b:1"
else:
    raise AssertionError("a superseded primary wrote")
assert list(Topic.objects.values_list("name", flat=True)) == ["before"]
print("as it should be")
"""
FENCED = """
from contextlib import contextmanager
bumps = False
def fence():
    return cluster.fenced()
"""
BUMPS = """
from contextlib import contextmanager
bumps = True
@contextmanager
def fence():
    with transaction.atomic():
        cluster.metadata_bump()
        yield
"""


@pytest.fixture(scope="module")
def server():
    """The URL of a database on a server of this module."""
    with required_postgres() as url:
        yield url


@pytest.mark.parametrize("way", [FENCED, BUMPS], ids=["fenced", "bumps"])
def test_a_write_that_passed_its_check_is_stored_before_a_take_over(server, tmp_path, way):
    import psycopg2

    name = f"fence_{'bumps' if way is BUMPS else 'fenced'}"
    connection = psycopg2.connect(server)
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    head, tail = PROGRAM.split('call_command("migrate"')
    done = subprocess.run(
        [sys.executable, "-c", f'{head}{way}\ncall_command("migrate"{tail}'],
        cwd=ROOT,
        env={
            **os.environ,
            "QUEUE_ROLE": "manager",
            "QUEUE_DATABASE_URL": f"{server.rpartition('/')[0]}/{name}",
            "QUEUE_DATA_DIR": str(tmp_path),
            "QUEUE_CLUSTER_SECRET": "a secret of this test alone",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "as it should be\n", done.stdout + done.stderr
