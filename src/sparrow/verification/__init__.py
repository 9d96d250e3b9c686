"""Verified robustness: one file per bound, all through auto_LiRPA.

Each file declares `Params` (from `sparrow.settings.Evaluation`) and `NORMS`, and defines
`bound(model, images, labels, params, threat, classes)`, which returns a lower bound (n,) on the margin between the
label's logit and the largest other one over the whole perturbation set: above zero, the sample is verified.
"""
