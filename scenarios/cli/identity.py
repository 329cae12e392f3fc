"""What decides the numbers of a run: settings, data, versions, machine. Another description is another run."""

import hashlib
import importlib.util
import json
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scenarios.config import AgentConfig
from scenarios.specs import parse, split_specs

_VERSIONED = ("learn-or-memorize", "torch", "torchvision", "avalanche-lib", "numpy", "scikit-learn", "scipy")


def describe(experiment: str, preset: str, settings: AgentConfig) -> dict[str, Any]:
    """The content of config.json."""
    import torch

    from scenarios.datasets import fingerprint

    plain = settings.model_dump(mode="json")
    versions = {"python": platform.python_version()} | {name: distribution_version(name) for name in _VERSIONED}
    described = {
        "experiment": experiment,
        "preset": preset,
        "settings": plain,
        "data": fingerprint(settings.dataset),
        "versions": versions | {"source": _source_digest()},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
    }
    own = {
        policy: digest
        for policy in split_specs(plain.get("policies") or plain.get("policy") or "none")
        if (digest := _policy_digest(policy))
    }
    return described | ({"own_policies": own} if own else {})


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


def _policy_digest(policy: str) -> str | None:
    """Identifies the module of a user's own policy; None for the program's."""
    name = parse(policy).name
    if "." not in name:
        return None
    module = sys.modules.get(name.rpartition(".")[0])
    path = getattr(module, "__file__", None)
    if path is None:
        spec = importlib.util.find_spec(name.rpartition(".")[0])
        path = spec.origin if spec else None
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest() if path else None
