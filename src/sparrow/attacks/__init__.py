"""Empirical robustness: one file per attack, from torchattacks where it has it as the paper does.

A file defines `Params`, a subclass of `Attack` or, if it searches inside the perturbation set alone, of `InsideAttack`
(`sparrow.adversary.params`), and `attack(model, images, labels, params, threat, classes)`, which returns adversarial
images (n, c, h, w) for `images` (n, c, h, w) in [0, 1] that `model` classifies as `labels` (n,). They are checked,
not trusted: `sparrow.stages.attack` projects them onto the perturbation set and asks the network again. Where it
fails, an attack returns the image of the smallest margin that it knows of, for that is the margin in the outcome
table (AutoAttack, of all that it has seen; PGD, where its last walk ended).

`Params` says, besides the attack's settings:

- `norms`: a tuple of the norms that it knows, of `"linf"` and `"l2"`. It has no default.
- `minimum_norm`: True, if it searches for the nearest adversarial image, however far (False by default). It then counts
  with its distance, so that one run says what is robust at any radius, and is given one radius only.
- `classes_needed`: the fewest classes that it can attack (2 by default).
- `transfers`: True, if it searches nothing, but tries adversarial images of the dense network (False by default; see
  `TransferAttack`). Its file defines `transfer`, below, in place of `attack`.
- `blind`: the name of the part of it that takes no gradients (None by default), as its `search` reports it. A warning
  says so if many images fall to that part alone.

A file may define

- `passes(params, classes)`: what an image costs that survives all of it, for `sparrow cost`: how many forward passes,
  and how many gradients (a forward and a backward pass). Without it the cost is unknown.
- `search(model, images, labels, params, threat, classes)`, for an attack of several parts: a
  `sparrow.adversary.attack_result.AttackResult`, which also names the part that broke each image; it is called in place of
  `attack`.
- `transfer(model, images, labels, params, threat, classes, candidates)`, if it `transfers`: as `attack`, given adversarial
  images (m, n, c, h, w) that m attacks have found against the dense network; the image itself where one has found none.
- `restart(model, images, labels, params, threat, classes, others)`, for a minimum-norm attack: the same as `attack`,
  called for images where that found nothing, with images `others` (n, c, h, w) of other classes to start from.
"""
