"""Verified robustness: one file per bound, all through auto_LiRPA.

Each file declares `Params` (from `sparrow.verification.params.Verification`) and `NORMS`, and defines
`bound(model, images, labels, params, threat, classes)`, which returns a lower bound (n,) on the margin between the
label's logit and the largest other one over the whole perturbation set: above zero, the sample is verified.

A file that defines `decide` in place of `bound`, with the same arguments, returns a `Decision`: it may also falsify. One
that defines `members(params)` is made of other files and packs its own batches; one that defines `ONE_BY_ONE = True` is
given one image at a time.

A file that defines `SMOOTHED = True` and, in place of `bound`, `certify(model, images, params, threat, classes, generator,
white)`, verifies a smoothed classifier: it returns that classifier's own predictions (n,), `ABSTAINED` where it has none, and
margins (n,) of the certified radius over the one that the threat needs; the images are multiples of `1 / white`. Its `vra`
stands apart from the network's.

What a verifier gives is held against the network itself, at points of each perturbation set (`sparrow.verification.guard`).

What a verifier costs before it runs (`sparrow cost`) is measured with `bound`. A file without one defines `members`, or
`passes(params, classes)` as an attack's does, or `longest(params)`, the seconds that an image may take.
"""
