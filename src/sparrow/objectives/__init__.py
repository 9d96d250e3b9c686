"""What a network is trained for: one file per objective.

Each file declares `Params` (with an `eps` if it trains against a perturbation; from `_params.py`) and defines
`prepare(params, threat)` (`threat` is None without an `eps`), which returns the loss: a function
`loss(model, images, labels, progress)` to a scalar, of a plain `nn.Module` in train mode, images (n, c, h, w) in [0, 1]
and labels (n,). `progress` in [0, 1] says how far the schedule's ramp has come; it is 1 wherever there is no ramp. The
same object pre-trains, prunes and fine-tunes. It has never heard of pruning.

A file that defines `FLOAT32_ONLY`, a reason, is not trained in bfloat16.
"""
