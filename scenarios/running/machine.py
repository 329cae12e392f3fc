"""What a run records about its machine: installed versions, processor and settings of libraries."""

import json
import os
import platform
import re
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from scenarios.datasets.image_decoding import decoder_versions
from scenarios.running.code_digest import digest_of

_VERSIONED = (
    "learn-or-memorize",
    "torch",
    "torchvision",
    "avalanche-lib",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "cmaes",
    "gymnasium",
    "stable-baselines3",
    "optuna",
)
DECODER = "decoder "
"""Prefix of the names of image decoders among the versions."""

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
"""Environment variables by which libraries choose their kernels. ATEN_CPU_CAPABILITY of PyTorch is not among them: the
recorded `cpu_capability` shows its effect."""


def versions(*, decoders: bool = False) -> dict[str, str]:
    """The versions of Python, of the libraries, and of the program's code; those of image decoders if asked."""
    found = {"python": platform.python_version()} | {name: distribution_version(name) for name in _VERSIONED}
    if decoders:
        found |= {f"{DECODER}{name}": number for name, number in decoder_versions().items()}
    return found | {"source": digest_of()}


@cache
def distribution_version(distribution: str) -> str:
    """The installed version of a package, or "not installed"."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def machine(device: str, threads: int | None) -> dict[str, Any]:
    """The properties of the machine that decide rounding, and so, after many steps, every digit.

    Args:
        device: cpu, cuda or mps.
        threads: threads of a process; None for the default of torch.
    """
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


def features_dir(cache_dir: Path | None, device: str, threads: int | None) -> Path | None:
    """The folder of features that this machine has computed or would compute alike; None without a cache folder.

    Features of another machine may differ in their last digits.
    """
    if cache_dir is None:
        return None
    decides = json.dumps([machine(device, threads), distribution_version("torch")], sort_keys=True)
    return cache_dir / "features" / blake2b(decides.encode(), digest_size=8).hexdigest()


def _cpu_features() -> str:
    """The instructions by which oneDNN and MKL choose their kernels; without /proc/cpuinfo, the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = found[1].split() if found else []
    return " ".join(sorted(flag for flag in flags if re.match(r"avx|amx|fma|f16c|asimd|sve|bf16|i8mm", flag)))
