"""Same configuration, same machine, same seed: the same bytes."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) from anything printable: independent streams for independent uses of one study seed."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(*parts: object) -> torch.Generator:
    """Seed every global generator from `parts`, ask a GPU for deterministic kernels, return a CPU generator of its own."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        # On the CPU nothing that we use depends on it, and asking costs a second of imports.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        # A bound that is rounded to ten bits proves nothing.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.Generator().manual_seed(derive_seed(*parts, "generator"))


def pick_device() -> torch.device:
    """The GPU that the job was given, if there is one; the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
