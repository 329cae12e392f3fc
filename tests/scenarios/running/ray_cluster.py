"""Ray clusters of this machine, whose nodes are groups of processes."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from scenarios.running.ray_connection import QUIET

os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}  # before ray is imported
ray = pytest.importorskip("ray", reason="the package ray is not installed")

POLICY = """
import errno, os, signal, time
from pathlib import Path

from agent.operations import Action
from agent.policies import Policy

HERE = Path(__file__).parent


class Watched(Policy):
    def decide(self, observation):
        with (HERE / "decided").open("a") as file:
            file.write(f"{os.getpid()} {observation.step}\\n")
        order = HERE / f"order{observation.step}"
        if order.exists():
            where, what = order.read_text().split()
            if where in ("any", os.environ.get("NODE_OF_TEST")):
                obey(what, order)
        return Action.LEARN if observation.step % 2 else Action.MEMORIZE


def obey(what, order):
    try:
        number = os.open(f"{order}.obeyed", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(number, str(os.getpid()).encode())
    os.close(number)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail":
        raise ZeroDivisionError("by nobody")
    if what == "pause":
        time.sleep(0.7)
    if what == "fill":
        os.fsync = full
    while what == "wait" and order.exists():
        time.sleep(0.05)


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
"""
"""A policy that notes who decides what, and obeys orders once: `order<step>` says on which node, and what to do."""


@contextmanager
def cluster_of(*nodes, connected=False):
    """A cluster, the first of whose nodes is the caller's."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **nodes[0]})
        try:
            patched.setenv("NODE_OF_TEST", "other")
            for each in nodes[1:]:
                cluster.add_node(**each)
            patched.delenv("NODE_OF_TEST")
            if connected:
                ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def node_of(cluster, pid):
    """The node that a worker belongs to."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return next(
        node
        for node in (cluster.head_node, *cluster.worker_nodes)
        if any(each.process.pid == parent for each in node.all_processes["raylet"])
    )


def awaited(path, process=None, seconds=120):
    """The content of a file that somebody else writes."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"nobody wrote {path}"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
    return path.read_text()


def decided(folder):
    """The steps that each process decided, in order."""
    found = {}
    for line in (folder / "decided").read_text().splitlines():
        pid, step = map(int, line.split())
        found.setdefault(pid, []).append(step)
    return found
