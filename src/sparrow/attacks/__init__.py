"""Empirical robustness: one file per attack, all through torchattacks.

Each file declares `Params` (from `sparrow.settings.Evaluation`) and `NORMS` (and `CLASSES_NEEDED`, if two are too few),
and defines `attack(model, images, labels, params, threat, classes)`, which returns adversarial images (n, c, h, w). They
are checked, not trusted: `sparrow.stages.attack` projects them onto the perturbation set and asks the network again.
"""
