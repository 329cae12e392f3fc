"""What decides the numbers of a run: settings, data, code, versions, machine. With another of these it is another run.

Everything is written into config.json, and more than that: what cannot change a number, such as how the path of a
folder is spelled, is told there and counts for nothing (`identity_of`).
"""

import hashlib
import importlib.util
import json
import os
import platform
import re
import sys
import unicodedata
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agent.errors import DatasetError, InvalidSetting
from scenarios.cli.code_digest import digest_of, digest_of_file
from scenarios.cli.show import program
from scenarios.config.families import SPECS
from scenarios.config.settings import AgentConfig, settings_of
from scenarios.config.specs import FILE, parse, split_specs

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
_DECIDING = ("python", "torch", "numpy", "scipy", "source")
"""Versions that decide the numbers of every run; some runs have more (`_versions_that_decide`)."""

_DECODER = "decoder "
"""Begins the names of versions of what decodes images, which are there for folders alone."""
_TOLD = frozenset({"preset", "prior_knowledge", "trees"})
"""What of a description counts for nothing: trees are known by their digest."""

PRIOR_KNOWLEDGE = (
    "number of classes",
    "normalization: mean and standard deviation of each channel over the whole training part",
    "augmentation that suits the data set",
    "number of chunks of the stream, for policies that read it",
)
"""What an agent knows before its stream begins; summaries hold the values."""


def describe(
    experiment: str,
    preset: str,
    settings: AgentConfig,
    *,
    reads_data: bool = True,
    threads: int | None = None,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """The content of config.json.

    Args:
        experiment: its name.
        preset: where the settings started.
        settings: as resolved.
        reads_data: whether the data set is read.
        threads: None for all of torch's.
        data_dir: where the fingerprints of folders are kept; None for the user's cache folder.

    Returns:
        Plain values; `data` is None where no data set is read, it needs no fingerprint, or it is not there. A finished
        run can be shown without its data; whoever lives something meets the error when the data are loaded.
    """
    from scenarios.datasets.load import fingerprint

    plain = settings.model_dump(mode="json")
    try:
        data = fingerprint(settings.dataset, data_dir) if reads_data else None
    except DatasetError:
        data = None
    described = {
        "experiment": experiment,
        "preset": preset,
        "settings": plain,
        "data": data,
        "prior_knowledge": list(PRIOR_KNOWLEDGE),
        "versions": versions(settings.dataset),
        "machine": machine(plain.get("device", "cpu"), threads),
    }
    own = own_code(plain)
    return described | ({"own_code": own} if own else {})


def identity_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """What of a description decides the numbers of its run: equal identities are the same run.

    A folder of images counts by its content, wherever it lies and however its path is spelled.
    """
    identity = {name: value for name, value in described.items() if name not in _TOLD}
    settings, found = described.get("settings"), described.get("versions")
    dataset = str(settings.get("dataset")) if isinstance(settings, dict) else ""
    if isinstance(settings, dict):
        idle = settings_of(AgentConfig, "idle")
        identity["settings"] = {name: value for name, value in settings.items() if name not in idle}
        if _is_folder(dataset):
            identity["settings"]["dataset"] = "folder"
    if isinstance(found, dict):
        deciding = _versions_that_decide(str(described.get("experiment")), dataset)
        identity["versions"] = {
            name: value for name, value in found.items() if name in deciding or name.startswith(_DECODER)
        }
    return identity


def without_data(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity of which nobody knows the content of the data."""
    return {name: value for name, value in identity.items() if name != "data"}


def same_run(found: Mapping[str, Any], described: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The identities of a run on disk and of one that is described, as far as both are known."""
    before, now = identity_of(found), identity_of(described)
    if now.get("data") is None and before.get("data") is not None:
        before, now = without_data(before), without_data(now)
    return before, now


def run_folder(parent: Path, name: str | None, words: list[str], described: Mapping[str, Any]) -> Path:
    """Where a run lies: under its name, or else under one made of words and of the digest of its identity.

    A run of the same identity that lies there under other words is found again: its data folder may have had another
    name. So is one whose data are gone.
    """
    if name is not None:
        known = [path for path in parent.glob("*") if _composed(path.name) == _composed(name)]
        return known[0] if known else parent / _composed(name)
    digest = _digest(identity_of(described))
    default = parent / default_name(words, digest)
    if default.exists():
        return default
    others = sorted(path for path in parent.glob(f"*-{digest}") if path.is_dir())
    settings = described.get("settings")
    if not others and isinstance(settings, dict) and _is_folder(str(settings.get("dataset"))) and not described["data"]:
        wanted = without_data(identity_of(described))
        others = [path for path in sorted(parent.glob("*")) if without_data(_identity_in(path)) == wanted]
        if len(others) > 1:
            raise InvalidSetting(
                f"expected one run with these settings, got {len(others)} on different data, and the folder of the "
                f"data set is not there to choose by; `{program()} resume {others[0]}` shows one of them"
            )
    return others[0] if others else default


def default_name(words: list[str], digest: str) -> str:
    """A folder name from words and a digest, of at most 200 bytes in any encoding."""
    plain = (re.sub(r"[^\w.-]+", "-", _composed(word)).strip("-.") for word in words)
    named = "-".join(_cut(word, 60) for word in plain if word)
    return "-".join(part for part in (_cut(named, 180), digest) if part)


def _composed(name: str) -> str:
    """A name in Unicode's composed form: names that look the same are the same."""
    return unicodedata.normalize("NFC", name)


def _cut(word: str, nbytes: int) -> str:
    return word.encode("utf-8")[:nbytes].decode("utf-8", errors="ignore").rstrip("-.")


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode("utf-8"), digest_size=4).hexdigest()


def _identity_in(path: Path) -> dict[str, Any]:
    from agent.storage.record import CONFIG

    try:
        found = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return identity_of(found) if isinstance(found, dict) else {}


def own_code(settings: dict[str, Any]) -> dict[str, str]:
    """Digests of the parts of an experiment that come from files or from a user's own code."""
    specs = [*_policies(settings), *(settings[name] for name in SPECS if settings.get(name))]
    return {spec: digest for spec in specs if (digest := _spec_digest(spec))}


def versions(dataset: str = "") -> dict[str, str]:
    """Of what runs, whether it decides the numbers or not; for a folder of images, of what decodes them, too."""
    found = {"python": platform.python_version()} | {name: distribution_version(name) for name in _VERSIONED}
    if _is_folder(dataset):
        from scenarios.datasets.image_decoding import decoder_versions

        found |= {f"{_DECODER}{name}": number for name, number in decoder_versions().items()}
    return found | {"source": digest_of()}


def _versions_that_decide(experiment: str, dataset: str) -> set[str]:
    of_training = ("cmaes", "gymnasium", "stable-baselines3") if experiment == "train-policy" else ()
    of_data = ("scikit-learn",) if dataset == "digits" else ()
    return {*_DECIDING, *of_training, *of_data}


def machine(device: str, threads: int | None) -> dict[str, Any]:
    """What of the machine decides the last digits, and with them, step by step, all others.

    Args:
        device: cpu, cuda or mps.
        threads: None for all of torch's.
    """
    import torch

    return {
        "processor": platform.machine(),
        "threads": threads or torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_features": _cpu_features(),
        "limits": {name: value for name in _LIMITS if (value := os.environ.get(name))},
        "device": torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else device,
        "deterministic": {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "float32_products": torch.get_float32_matmul_precision(),
            "tf32": torch.backends.cudnn.allow_tf32,
        },
    }


_LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Environment variables by which libraries choose among their kernels. (That of PyTorch itself, ATEN_CPU_CAPABILITY, is
seen in the capability that it leads to.)"""


def _cpu_features() -> str:
    """The instructions by which oneDNN and MKL choose their kernels, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = found[1].split() if found else []
    return " ".join(sorted(flag for flag in flags if re.match(r"avx|amx|fma|f16c|asimd|sve|bf16|i8mm", flag)))


def dataset_word(dataset: str) -> str:
    """A data set as one word of a name."""
    return dataset.removeprefix("folder:").rstrip("/").rpartition("/")[2] or "folder"


def _is_folder(dataset: str) -> bool:
    return dataset.startswith("folder:")


def distribution_version(distribution: str) -> str:
    """The version that is installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _policies(settings: dict[str, Any]) -> list[str]:
    """The policies of any experiment; the path of a single one may have blanks."""
    if several := settings.get("policies") or settings.get("with_policies"):
        return split_specs(several)
    return [settings["policy"]] if settings.get("policy") else []


def _spec_digest(spec: str) -> str | None:
    """Identifies the file of a policy, or the module of a user's own class; None for the program's."""
    parsed = parse(spec)
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
        found = importlib.util.find_spec(name.rpartition(".")[0])
        path = found.origin if found else None
    return digest_of_file(Path(path)) if path else None
