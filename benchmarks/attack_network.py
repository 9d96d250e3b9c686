"""AutoAttack on a network and a data set of a study, against another implementation: many images, each attacked once by each.

    python benchmarks/attack_network.py results/.../dense.safetensors results/.../data.safetensors --eps 8/255

Images that the network gets right go 64 at a time to one implementation after the other; the ratio is that of all seconds, its
range that of the parts. An hour and more for 1,000 images on one core; no part of `make bench`.
"""

import argparse
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch
from _digits import DEVICE
from _paired import about, rounded, timed, write
from attacks import by_sparrow, others

from sparrow.data.store import read
from sparrow.files import checkpoint
from sparrow.settings import Threat

TOGETHER = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="a checkpoint")
    parser.add_argument("data", type=Path, help="the data set that it has learned")
    parser.add_argument("--eps", type=Fraction, required=True, help="radius in l_inf, such as 8/255")
    parser.add_argument("--samples", type=int, default=1000, help="the first so many test images")
    parser.add_argument("--against", choices=others(), default="torchattacks")
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    options = parser.parse_args()
    loaded, threat = checkpoint.load(options.network), Threat(eps=float(options.eps))
    part, _ = read(options.data, "test")
    model, part = loaded.model.to(DEVICE).requires_grad_(False), part.first(options.samples).to(DEVICE)
    with torch.no_grad():
        right = torch.cat([model(images).argmax(dim=1) for images in part.images.split(TOGETHER)]) == part.labels
    against, packages = others()[options.against]
    runs = {"": (against, False)} | {precision: (partial(by_sparrow, precision), True) for precision in options.precision}
    seconds, standing = {name: [] for name in runs}, dict.fromkeys(runs, 0.0)
    correct = right.nonzero().squeeze(1).split(TOGETHER)
    for run, in_a_job in runs.values():  # Off the clock: what is only done once.
        timed(partial(run, model, part.images[correct[0][:1]], part.labels[correct[0][:1]], threat), in_a_job)
    for number, some in enumerate(correct, start=1):
        images, labels = part.images[some], part.labels[some]
        # Who goes first changes.
        names = [*runs][number % len(runs) :] + [*runs][: number % len(runs)]
        for name in names:
            run, in_a_job = runs[name]
            taken, robust = timed(partial(run, model, images, labels, threat), in_a_job)
            seconds[name].append(taken)
            standing[name] += robust * len(some) / 100
            print(f"part {number}, {name or options.against}: {taken:.1f} s, {robust:.1f} % of {len(some)} stand", flush=True)
    rows = []
    for precision in options.precision:
        theirs, ours = seconds[""], seconds[precision]
        ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
        robust = [100 * standing[name] / len(right) for name in ("", precision)]
        network = "/".join(options.network.with_suffix("").parts[-5:])
        row = {
            "case": f"AutoAttack, {network}, {len(right)} images, eps {options.eps}, {precision}",
            "against": options.against,
        }
        row |= {"theirs_s": rounded(sum(theirs)), "ours_s": rounded(sum(ours)), "ratio": rounded(sum(theirs) / sum(ours))}
        row |= {"lowest": rounded(min(ratios)), "highest": rounded(max(ratios)), "repeats": len(ratios)}
        rows.append(row | {"same": "robust {:.2f} and {:.2f} % of all".format(*robust)} | about(packages))
        print(rows[-1])
    print(f"written to {write('attacks', rows)}")


if __name__ == "__main__":
    main()
