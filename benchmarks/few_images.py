"""AutoAttack where few images are left: by another checkout of Sparrow, such as an older commit, and by this one.

    git worktree add ../before COMMIT
    python benchmarks/few_images.py ../before
    python benchmarks/few_images.py ../before --network results/.../dense.safetensors --data results/.../data.safetensors \
        --eps 8/255 --samples 1000

Each checkout has a process of its own, as a job has; they attack in turn, and one waits while the other computes. By default
digits of 8 x 8 on CNN-small, trained adversarially: 16, 60 and 150 that this checkout cannot break. With `--network`, the first
images of a data set that the network gets right, 64 at a time as `attack_network.py` does it, or as many as `--batch` says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

DEFAULT_EPS = 0.12
STANDING = (16, 60, 150)
DIGITS = (1, 8, 8)


class Build:
    """A checkout of Sparrow that attacks in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env=os.environ | {"PYTHONPATH": str(root.resolve() / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def standing(self, case: Path, first: int, end: int) -> list[int]:
        """Which of images `first` to `end` of a case's file are left by AutoAttack."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps({"case": str(case), "first": first, "end": end}), file=stdin, flush=True)
        answer = stdout.readline()
        if not answer:
            sys.exit("few_images: a checkout's process has ended; its message is above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def work() -> None:
    """Attack what is asked for on the standard input, with whatever Sparrow is imported."""
    from sparrow.attacks import autoattack
    from sparrow.jobs import allocator
    from sparrow.settings import Threat

    torch.set_flush_denormal(True)
    allocator.keep_freed_memory()
    cases: dict[str, dict] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["case"] not in cases:
            # Written by this script a moment ago.
            cases = {asked["case"]: torch.load(asked["case"], weights_only=False)}
        case = cases[asked["case"]]
        some = slice(asked["first"], asked["end"])
        given = case["model"], case["images"][some], case["labels"][some]
        found = autoattack.search(*given, autoattack.Params(), Threat(eps=case["eps"]), case["classes"])
        print(json.dumps([place for place, part in enumerate(found.found_by) if not part]), flush=True)


@contextmanager
def builds(*roots: Path):
    """The processes of these checkouts."""
    with ExitStack() as stack:
        started = [Build(root) for root in roots]
        for build in started:
            stack.callback(build.close)
        yield started


def written(folder: Path, name: str, model: nn.Module, images: Tensor, labels: Tensor, eps: float, classes: int) -> Path:
    """The file of a case."""
    path = folder / f"{name}.pt"
    torch.save({"model": model, "images": images, "labels": labels, "eps": eps, "classes": classes}, path)
    return path


def alike(count: int, theirs: list[int], ours: list[int]) -> str:
    # Random search may break another image; of few, hardly one.
    differ = len(set(theirs) ^ set(ours))
    assert differ <= max(1, count // 100), f"{differ} of {count} images stand by one checkout alone"
    return f"{len(theirs)} and {len(ours)} of {count} stand, {differ} by one alone"


def digits(folder: Path, before: Build, here: Build, against: str, repeats: int) -> list[dict[str, Any]]:
    """Rows of digits that stand."""
    from _digits import parts, trained
    from _paired import Pair, compare

    from sparrow.settings import Threat

    model = trained("cnn-small", DIGITS, "adversarial", Threat(eps=DEFAULT_EPS), epochs=20, steps=5)
    images, labels = (torch.cat([getattr(part, name) for part in parts(DIGITS).values()]) for name in ("images", "labels"))
    with torch.no_grad():
        right = (model(images).argmax(dim=1) == labels).nonzero().squeeze(1)[: 2 * max(STANDING)]
    images, labels = images[right], labels[right]
    rows = []
    standing = here.standing(written(folder, "all", model, images, labels, DEFAULT_EPS, 10), 0, len(right))
    for count in STANDING:
        chosen = standing[:count]
        if len(chosen) < count:
            print(f"only {len(chosen)} digits stand")
            continue
        case = written(folder, f"{count}", model, images[chosen], labels[chosen], DEFAULT_EPS, 10)
        sides: list[Callable[[], list[int]]] = [partial(one.standing, case, 0, count) for one in (before, here)]
        name = f"AutoAttack, cnn-small, {count} digits that stand, float32"
        rows.append(compare(Pair(name, against, *sides, partial(alike, count)), repeats))
    return rows


def of_a_study(options: argparse.Namespace, folder: Path, before: Build, here: Build, against: str) -> list[dict[str, Any]]:
    """The row of a study's network, each image attacked once by each."""
    from _paired import about, rounded

    from sparrow.data.store import read
    from sparrow.files import checkpoint

    model, (part, header) = checkpoint.load(options.network).model.requires_grad_(False), read(options.data, "test")
    part = part.first(options.samples)
    with torch.no_grad():
        right = torch.cat([model(images).argmax(dim=1) for images in part.images.split(64)]) == part.labels
    images, labels = part.images[right], part.labels[right]
    case = written(folder, "study", model, images, labels, float(options.eps), header.classes)
    for build in (before, here):
        build.standing(case, 0, 1)
    seconds, standing = ([], []), ([], [])
    for number, first in enumerate(range(0, len(labels), options.batch)):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            found = (before, here)[side].standing(case, first, first + options.batch)
            seconds[side].append(time.perf_counter() - begin)
            standing[side].extend(first + place for place in found)
        print(f"from {first}: {seconds[0][-1]:.1f} and {seconds[1][-1]:.1f} s, {[len(one) for one in standing]}", flush=True)
    ratios = [one / other for one, other in zip(*seconds, strict=True)]
    network = "/".join(options.network.with_suffix("").parts[-5:])
    row = {
        "case": f"AutoAttack, {network}, {len(right)} images by {options.batch}, eps {options.eps}, float32",
        "against": against,
        "theirs_s": rounded(sum(seconds[0])),
        "ours_s": rounded(sum(seconds[1])),
        "ratio": rounded(sum(seconds[0]) / sum(seconds[1])),
        "lowest": rounded(min(ratios)),
        "highest": rounded(max(ratios)),
        "repeats": len(ratios),
        "same": "robust {:.2f} and {:.2f} % of all".format(*(100 * len(one) / len(right) for one in standing)),
    }
    print(row | about())
    return [row | about()]


def main() -> None:
    from _paired import REPEATS, REPOSITORY, write

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="another checkout of Sparrow")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs for the clock, of digits")
    parser.add_argument("--network", type=Path, help="a checkpoint")
    parser.add_argument("--data", type=Path, help="the data set that it has learned")
    parser.add_argument("--eps", type=Fraction, default=Fraction(8, 255), help="radius in l_inf, such as 8/255")
    parser.add_argument("--samples", type=int, default=1000, help="the first so many test images")
    parser.add_argument("--batch", type=int, default=64, help="images that are attacked together")
    options = parser.parse_args()
    git = ["git", "-C", str(options.before), "describe", "--always", "--dirty"]
    against = "Sparrow at " + subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder, builds(options.before, REPOSITORY) as both:
        if options.network:
            rows = of_a_study(options, Path(folder), *both, against)
        else:
            rows = digits(Path(folder), *both, against, options.repeats)
    print(f"written to {write('few_images', rows)}")


if __name__ == "__main__":
    work() if sys.argv[1:] == ["--worker"] else main()
