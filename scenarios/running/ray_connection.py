"""The connection to a Ray cluster; Ray says nothing, and the program's handlers of signals stay."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.errors import RunError

ANSWER_SECONDS = 15.0
"""How long a cluster may take to answer."""

QUIET = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # of every line that Ray would print about its processes
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variables by which Ray says nothing; it reads them when it is imported."""

_LOCAL = {"address": "local", "include_dashboard": False, "object_store_memory": 100_000_000}

_LOGGED = re.compile(r"^\[[^]]*\] (\S+:\d+: )?")
"""What a line of Ray's log begins with: time, process and place in its code."""

_TRY = """
import ray, sys

ray.init(sys.argv[1], logging_level="critical", log_to_driver=False)
print("answered", flush=True)
"""


def connect(address: str | None) -> tuple[Any, bool]:
    """The module ray, connected to a cluster, and whether this call has connected it.

    Args:
        address: of the cluster; None for a Ray of this machine.

    Raises:
        RunError: the cluster does not answer.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return ray, False
    if address is not None:
        check_answers(address)
    where = _LOCAL if address is None else {"address": address}
    with _signals_kept():
        try:
            ray.init(**where, logging_level="critical", log_to_driver=False)
        except (Exception, SystemExit) as error:
            raise RunError(_no_cluster(address or "this machine", str(error))) from error
    return ray, True


def check_answers(address: str) -> None:
    """Check that a Ray cluster answers.

    Ray may wait for minutes, print what is of no use here, or end the process; so another process tries.

    Raises:
        RunError: it does not answer.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS / 3).close()
        except (OSError, OverflowError) as error:
            raise RunError(_no_cluster(address, str(error))) from None
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_SECONDS,
            start_new_session=True,
        )
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = late.stdout or b"", late.stderr or b""
    if b"InvalidAuthToken" in errors or b"AuthenticationError" in errors:
        raise RunError(
            f"expected a Ray cluster at {address} that takes the token of this user, got one that does not; set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the token of the cluster"
        )
    if b"answered" not in output:
        lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if "Error" in line]
        reason = _LOGGED.sub("", lines[-1]) if lines else f"none in {ANSWER_SECONDS:g} seconds"
        raise RunError(_no_cluster(address, reason))


def _no_cluster(address: str, reason: str) -> str:
    reason = " ".join(reason.split())[:300]
    return (
        f"expected an answer from a Ray cluster at {address}, got: {reason}; start one with `ray start --head`, or "
        "check the address"
    )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray handles SIGTERM as it connects; the program's own handlers stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
