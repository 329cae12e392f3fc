"""What decides the numbers of a run: settings, data, versions, machine. Another description is another run."""

import hashlib
import importlib.util
import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from scenarios.config import AgentConfig
from scenarios.specs import FILE, parse, split_specs

_VERSIONED = (
    "learn-or-memorize",
    "torch",
    "torchvision",
    "avalanche-lib",
    "numpy",
    "scikit-learn",
    "scipy",
    "cmaes",
    "gymnasium",
    "stable-baselines3",
)


def describe(
    experiment: str, preset: str, settings: AgentConfig, *, reads_data: bool = True, threads: int | None = None
) -> dict[str, Any]:
    """The content of config.json; `data` is None where the data set is not read, `threads` None for all of torch's."""
    import torch

    from scenarios.datasets import fingerprint

    plain = settings.model_dump(mode="json")
    described = {
        "experiment": experiment,
        "preset": preset,
        "settings": plain,
        "data": fingerprint(settings.dataset) if reads_data else None,
        "versions": versions(),
        "machine": {"processor": platform.machine(), "threads": threads or torch.get_num_threads()},
    }
    own = own_policies(plain)
    return described | ({"own_policies": own} if own else {})


def own_policies(settings: dict[str, Any]) -> dict[str, str]:
    """Digests of the policies in an experiment's settings that come from files or from a user's own code."""
    return {policy: digest for policy in _policies(settings) if (digest := _policy_digest(policy))}


def versions() -> dict[str, str]:
    """Of what decides the numbers of a run."""
    found = {"python": platform.python_version()} | {name: distribution_version(name) for name in _VERSIONED}
    return found | {"source": _source_digest()}


def default_name(parts: list[str], described: dict[str, Any]) -> str:
    """A folder name from words and a digest of the description."""
    digest = hashlib.blake2b(json.dumps(described).encode(), digest_size=4).hexdigest()
    words = [re.sub(r"[^\w.-]+", "-", part).strip("-.")[:60] for part in parts]
    return "-".join([*(word for word in words if word), digest])


def dataset_word(dataset: str) -> str:
    """A data set as one word of a name."""
    return dataset.removeprefix("folder:").rstrip("/").rpartition("/")[2] or "folder"


def distribution_version(distribution: str) -> str:
    """The version that is installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _source_digest() -> str:
    """Identifies the code at work, commit or no commit."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parents[2]
    for path in sorted(path for package in ("agent", "scenarios") for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _policies(settings: dict[str, Any]) -> list[str]:
    """The policies of any experiment; the path of a single one may have blanks."""
    if several := settings.get("policies") or settings.get("with_policies"):
        return split_specs(several)
    return [settings["policy"]] if settings.get("policy") else []


def _policy_digest(policy: str) -> str | None:
    """Identifies the file of a policy, or the module of a user's own; None for the program's."""
    parsed = parse(policy)
    name = parsed.name
    if name == FILE:
        file = parsed.settings["path"]
        try:
            return hashlib.blake2b(Path(os.path.expanduser(file)).read_bytes(), digest_size=8).hexdigest()  # noqa: PTH111
        except OSError as error:
            raise InvalidSetting(f"expected a readable policy file at {file}, got: {error.strerror}") from error
    if "." not in name:
        return None
    module = sys.modules.get(name.rpartition(".")[0])
    path = getattr(module, "__file__", None)
    if path is None:
        spec = importlib.util.find_spec(name.rpartition(".")[0])
        path = spec.origin if spec else None
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest() if path else None
