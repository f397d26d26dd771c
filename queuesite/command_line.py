"""Command line of the servers: `cluster`, `manager`, `broker`, `token` and Django's own.

Those that move data, `export`, `import` and `mirror`, are the client's.

An installed distribution has it as the command `queuesite`, a checkout as `manage.py`.
"""

from __future__ import annotations

import ast
import gc
import os
import sys
from pathlib import Path

import queuesite
from queuesite.cluster_directory import directory_by_hand
from queuesite.conf import (
    BROKER,
    MANAGER,
    ConfigError,
    QueueConfig,
    ensure_role,
    ensure_secret,
    from_environment,
    missing_protection,
    not_read,
    older_spelling,
    read_setting,
)
from queuesite.optional_packages import import_drf_alone
from queuesite.ready_pipe import adopt_ready_pipe

COMMANDS = Path(__file__).parent / "management" / "commands"
USAGE_STATUS = 2
"""Exit status of wrong values."""
CLUSTER = "cluster"
ACCEPT_LOSS = "accept-loss"
OF_THE_CLIENT = ("export", "import", "mirror")
"""Commands that are `myqueue`'s: it needs no server, and neither do they."""
WITH_BROKER_TABLES = ("backup", "restore")
"""Commands that read and write a broker's database."""
PRIVATE = 0o077
"""What others may not do with any file that a server makes, whatever the shell says."""


def prepare_environment(arguments: list[str]) -> QueueConfig:
    """Choose the role of this process from its subcommand and check its configuration.

    Returns:
        The configuration.

    Raises:
        ConfigError: a value of the environment is wrong.
    """
    subcommand = arguments[0] if arguments else ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "queuesite.settings")
    is_broker = subcommand in (BROKER, *WITH_BROKER_TABLES)
    ensure_role(os.environ, BROKER if is_broker else MANAGER)
    if subcommand == MANAGER and {"-r", "--read-only"} & set(arguments[1:]):
        os.environ.pop(older_spelling("QUEUE_READ_ONLY"), None)  # an option is above a setting
        os.environ["QUEUE_READ_ONLY"] = "1"
    config = from_environment(os.environ)
    if subcommand == BROKER and not read_setting(os.environ, "QUEUE_DATA_DIR"):
        os.environ["QUEUE_DATA_DIR"] = str(directory_by_hand(config.port))
        config = from_environment(os.environ)
    if subcommand in (MANAGER, BROKER) and not {"-h", "--help"} & set(arguments):
        ensure_secret(config)  # the settings find it where it was made
    return config


def become_client(config: QueueConfig) -> None:
    """Go on as the client's command of the same name, at the manager of this machine."""
    scheme = "https" if config.tls_cert else "http"
    os.environ.setdefault("MYQUEUE_ADDRESS", f"{scheme}://127.0.0.1:{config.port}")
    command = [sys.executable, "-m", "myqueue.cli.main", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own program, without a shell


def before_all_else(arguments: list[str]) -> None:
    """Do what a process needs that makes files, or that stays."""
    subcommand = arguments[0] if arguments else ""
    if subcommand in (MANAGER, BROKER):
        gc.disable()  # what is imported stays; `ServerProcess` enables it
    if subcommand in (MANAGER, BROKER, CLUSTER, *WITH_BROKER_TABLES):
        os.umask(PRIVATE)
    if subcommand in (MANAGER, BROKER, CLUSTER):
        for line in not_read(os.environ):
            sys.stderr.write(f"{line}\n")


def told_at_once(arguments: list[str]) -> str:
    """Return what needs no settings, the version or the list of commands; else nothing."""
    if arguments == ["--version"]:
        return f"queuesite {queuesite.__version__}\n"
    if arguments not in ([], ["help"], ["-h"], ["--help"]):
        return ""
    lines = []
    for path in sorted(COMMANDS.glob("[a-z]*.py")):
        title, _, told = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("`: ")
        name = title.removeprefix("`manage.py ")
        lines.append(f"  {name:<12} {told.partition(chr(10))[0]}\n")
    lines += [f"  {name:<12} as `myqueue {name}`.\n" for name in sorted(OF_THE_CLIENT)]
    return (
        f"queuesite COMMAND [options]\n\n{''.join(lines)}\n"
        "`COMMAND --help` says more. createsuperuser and changepassword make people for the"
        " console;\n`help --commands` lists those two and all others of Django.\n"
    )


def main() -> None:
    """Run the subcommand that the arguments of this process name."""
    adopt_ready_pipe(os.environ)
    if told := told_at_once(sys.argv[1:]):
        sys.stdout.write(told)
        return
    if sys.argv[1:2] == [ACCEPT_LOSS]:
        sys.argv[1] = ACCEPT_LOSS.replace("-", "_")  # a module's name
    before_all_else(sys.argv[1:])
    try:
        config = prepare_environment(sys.argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(USAGE_STATUS)
    if sys.argv[1:2] and sys.argv[1] in OF_THE_CLIENT:
        become_client(config)
    if sys.argv[1:2] in ([MANAGER], [BROKER]):
        has_secret = bool(read_setting(os.environ, "QUEUE_CLUSTER_SECRET"))
        if missing := missing_protection(config, has_secret=has_secret):
            sys.stderr.write(
                f"WARNING: QUEUE_BIND_HOST={config.bind_host} lets other machines connect without"
                f" {'; '.join(missing)} (QUEUE_ALLOW_INSECURE=1)\n"
            )
        import_drf_alone()
    execute(config)


def execute(config: QueueConfig) -> None:
    """Run the subcommand; Django's own end in one line where there is no database."""
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        if sys.argv[1:2] in ([MANAGER], [BROKER], [CLUSTER]):
            raise
        reason = str(error).strip().partition("\n")[0]
        where = "QUEUE_DATABASE_URL" if config.database_url else f"QUEUE_DATA_DIR={config.data_dir}"
        sys.stderr.write(f"the managers' database of {where} cannot be used: {reason}\n")
        sys.exit(USAGE_STATUS)
