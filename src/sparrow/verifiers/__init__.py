"""Verified robustness: one file per verifier; bounds are auto_LiRPA's, of plain and residual networks often Sparrow's own.

A file defines `Params`, a subclass of `Verifier` or, if its bounds take much memory, of `Verification`
(`sparrow.verification.params`), and one of three functions:

- `bound(model, images, labels, params, threat, classes)`: a lower bound (n,) on the margin between the label's logit
  and the largest other one over the whole perturbation set of each of `images` (n, c, h, w), which `model` classifies
  as `labels` (n,). Above zero, the image is verified.
- `decide`, with the same arguments: a `sparrow.verification.decision.Decision`, which may also falsify.
- `certify(model, images, params, threat, classes, generator, white)`, for a smoothed classifier: that classifier's
  own predictions (n,), `sparrow.files.outcome_table.ABSTAINED` where it has none, and margins (n,) of the certified
  l2 radius over the one that the threat needs (`threat.l2_radius`). The images are multiples of `1 / white`. Its `vra`
  stands apart from the network's.

What `bound` and `decide` give is held against the network itself, at points of each perturbation set
(`sparrow.verification.guard`).

`Params` says, besides the verifier's settings:

- `norms`: a tuple of the norms that it knows, of `"linf"` and `"l2"`. It has no default.
- `smoothed`: True for a file that defines `certify` (False by default).
- `one_by_one`: True, if it is to be given one image at a time (False by default): a job that is killed loses what it
  had found out about its last batch.

A file may define

- `members(params)`: the `Params` of the verifiers that it is made of, by kind. It then packs its own batches, and its
  members are held against the network, and priced, in its place.
- `together(model, image, params, classes)`: how many images like `image` (1, c, h, w) it should be given at a time, at
  least 1, if that may be fewer than `batch_size`; None, if it does not know. What it has been given is finished before a
  job that is stopped has it. It must depend on nothing but the network and the settings, not on the machine.
- for `sparrow cost`, where there is no `bound` to be measured and there are no members: `passes(params, classes)`,
  how many forward passes and how many gradients an image takes, or `longest(params)`, the seconds that an image may
  take.
"""
