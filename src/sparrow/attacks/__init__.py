"""Empirical robustness: one file per attack, from torchattacks where it has it as the paper does.

Each file declares `Params` (from `sparrow.adversary.params.Attack`) and `NORMS` (and `CLASSES_NEEDED`, if two are too few),
and defines `attack(model, images, labels, params, threat, classes)`, which returns adversarial images (n, c, h, w). They
are checked, not trusted: `sparrow.stages.attack` projects them onto the perturbation set and asks the network again.

A file that defines `MINIMUM_NORM = True` looks for the nearest adversarial image, however far. It counts with its
distance, so that one run says what is robust at any radius. If it defines `restart(model, images, labels, params, threat,
classes, others)`, too, that is called where it has found nothing, with images of other classes to start from.

An attack of several parts may define `search`, with the arguments of `attack` and a `Found` (`sparrow.adversary.found`) as
its result, which says what broke each image; `BLIND` names a part that takes no gradients.

The margin in an outcome table is that of the returned image: where an attack fails, it returns the image of the smallest
margin it knows of within the ball (AutoAttack, of all that it has seen; PGD, where its last walk ended).

A file that defines `passes(params, classes)` says what an attack costs before it runs (`sparrow cost`): how many forward
passes, and how many gradients (a forward and a backward pass), an image takes that survives all of it.
"""
