"""Seeds, deterministic settings of torch, and the names of versions and devices: same configuration, machine and seed, same
bytes."""

from __future__ import annotations

import hashlib
import os
import platform
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparrow.versions import versions


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) from anything printable: independent streams for independent uses of one study seed."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def flush_denormals() -> None:
    """Make the CPU treat numbers below 1e-38 as zero: gradients at images that a network is sure of are full of them, and some
    processors compute with them thirty times slower (docs/performance.md).

    Applies to this thread and to threads that it starts later: call it before torch computes anything in parallel.
    """
    torch.set_flush_denormal(True)


def seed_everything(*parts: object) -> torch.Generator:
    """A CPU generator seeded from `parts`; also seeds every global generator, and has a GPU use deterministic kernels."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    flush_denormals()
    if torch.cuda.is_available():
        # On the CPU nothing that we use depends on it, and the call costs a second of imports.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        # A bound that is rounded to ten bits proves nothing.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.Generator().manual_seed(derive_seed(*parts, "generator"))


def pick_device() -> torch.device:
    """The first GPU that the job may use; the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The device's name, such as `cuda: NVIDIA H200`, or `cpu: AMD EPYC (AVX512)` with the instruction set in use."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    about = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE) if about.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"cpu: {name} ({torch.backends.cpu.get_cpu_capability()})"


def software_and_device(device: torch.device) -> dict[str, Any]:
    """`versions` of packages and `device`, by name: what determines a network's numbers besides its configuration."""
    packages = versions("numpy", "auto_LiRPA", "torch-pruning")
    return {"versions": packages | {"torch": str(torch.__version__)}, "device": device_name(device)}
