"""How a network is pruned: one file per method. `methods/my_method.py` is the method `my-method`.

A file defines `Params`, a subclass of `Method` or of one of its kind (`sparrow.pruning.params`: `Batches`,
`PerLayer`, `Global`, `Granular`, `Sharpness`), and `prepare(params, ratio, generator)`, which returns a `Pruner`
(`sparrow.pruning.pruner`) that prunes the share `ratio` of the weights, with all it draws at random drawn from
`generator` (on the CPU). A pruner sees plain weights and their gradients; one with a loss of its own also sees the
batch. It never learns what the objective is.

`Params` says, besides the method's settings:

- `needs`: `"nothing"` (default), if the weights alone decide; `"batches"`, if it evaluates the losses, gradients or
  activations of some batches while the network stays as it is: then nothing is optimised, and batch norm is frozen;
  `"schedule"`, if it trains along the study's `training.prune`. `needs: ClassVar[Needs] = "schedule"`, or a property,
  where it depends on the settings.
- `steps_of(total, per_epoch)`: how many of the `total` steps of the schedule it takes. This is what pruning runs and
  what `sparrow cost` prices. None for a method that needs nothing, all for one that needs a schedule; a method that
  needs batches derives from `Batches`, whose setting `batches` says how many, or defines `steps_of`.
- `trains`, for a method that needs a schedule: `"scores"` (default), or `"weights"`, which then move by the
  optimiser, learning rate and clipping of `training.finetune`.
- `batch_norm_only`: why it cannot serve a network without batch norm (None by default, if it can).
- `too_short(total, per_epoch)`: what of it has no place in a schedule of so many steps (None by default); the study
  is then refused with this sentence.
- `traces`: True, if its pruner's `trace` gives quantities worth a figure.

A field `eps` (`Radius | None`) in `Params` asks for the study's threat, which is then in `batch.threat`.
"""
