"""One GPU for each job, where a machine has several: without it, all jobs would take the first."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")


def take(folder: Path | None = None) -> None:
    """Leave this process one GPU of those that it sees, one that no other job of this user has, until it ends.

    If all are taken, one is shared. To be called before CUDA is first used; a job that sees one GPU (a batch system has chosen
    it), or none, is left as it is. The locks lie in `folder`.
    """
    seen = visible()
    if len(seen) < 2:
        return
    folder = folder or Path(tempfile.gettempdir(), f"sparrow-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ[VISIBLE] = next((gpu for gpu in seen if _locked(folder / gpu)), seen[os.getpid() % len(seen)])


def visible() -> list[str]:
    """The GPUs that this process may use, by number or name: those that the environment says, or else all."""
    said = os.environ.get(VISIBLE)
    if said is not None:
        return [gpu.strip() for gpu in said.split(",") if gpu.strip() not in ("", "-1")]
    return sorted((path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*")), key=int)


def _locked(path: Path) -> bool:
    """Whether this process has the lock now; the system takes it back when the process ends, however it ends."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    return True
