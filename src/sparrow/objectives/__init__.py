"""What a network is trained for: one file per objective. `objectives/my_objective.py` is the objective `my-objective`.

A file defines `Params`, a subclass of `Objective` or of one of its kind (`sparrow.training.objective_params`:
`RobustParams`, which has an `eps`, `PGDParams`, `IBPInitialisation`), and `prepare(params, threat)`, which returns
the loss. `threat` is what it trains against if `Params` has a field `eps`, and None otherwise. The loss is a function
`loss(model, images, labels, progress)` to a scalar, of a plain `nn.Module` in train mode, images (n, c, h, w) in [0,
1] and labels (n,). `progress` in [0, 1] says how far the schedule's ramp has come; it is 1 wherever there is no ramp.
The same object pre-trains, prunes and fine-tunes. It imports nothing of pruning.

`Params` says, besides the objective's settings:

- `perturbs`: True, if its loss is of images that it perturbs (False by default). It finds them by
  `sparrow.training.inner_pgd.maximise`, or by a search of its own inside `sparrow.training.inner_replay.solve(find)`,
  in every batch where `progress` is above 0. S2AP computes a loss twice on the same images; it refuses an objective
  that perturbs without calling `solve`, that takes a gradient by its input outside of it, or that shows the network
  other images the second time.
- `float32_only`: why it cannot be trained in bfloat16, as the end of a sentence (None by default, if it can).

A loss that also watches over the network after each epoch is a `sparrow.training.loss.CheckedLoss`.

A file may define `initialise(params, model, generator)`, which changes the initial weights of `model` (on the CPU) in
place before pre-training, with what it draws at random drawn from `generator`.
"""
