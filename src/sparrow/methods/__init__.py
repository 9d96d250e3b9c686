"""How a network is pruned: one file per method. `methods/my_method.py` is the method `my-method`.

A file defines `Params`, a subclass of `Method` or of one of its kind (`sparrow.pruning.params`: `Batches`,
`PerLayer`, `Global`, `Granular`, `Patterned`, `AnyGranularity`, `Sharpness`), and `prepare(params, ratio, generator)`,
which returns a `Pruner` (`sparrow.pruning.pruner`) that prunes the share `ratio` of the weights, with all it draws at
random drawn from `generator` (on the CPU). A pruner sees plain weights and their gradients; one with a loss of its own
also sees the batch. It never learns what the objective is.

`Params` says, besides the method's settings:

- `needs`: `"nothing"` (default), if the weights alone decide; `"batches"`, if it evaluates the losses, gradients or
  activations of some batches while the network stays as it is: then nothing is optimised, and batch norm is frozen;
  `"schedule"`, if it trains along the study's `training.prune`. `needs: ClassVar[Needs] = "schedule"`, or a property,
  where it depends on the settings.
- `steps_of(total, per_epoch)`: how many of the `total` steps of the schedule it takes. This is what pruning runs, unless
  the pruner says after an epoch that its search is `finished`, and what `sparrow cost` prices. None for a method that
  needs nothing, all for one that needs a schedule; a method that needs batches derives from `Batches`, whose setting
  `batches` says how many, or defines `steps_of`.
- `pipeline`: `"after"` training (default), where the dense network is pruned and fine-tuned; `"before"`, where the initial
  network is pruned and what is left trained as the dense one was; `"during"`, where the initial network is pruned while
  it trains, and what is left fine-tuned.
- `schedule(ratio, own, pretrain)`: what it makes of the schedule that it would have, such as a longer one in cycles.
- `too_short(total, per_epoch)`: a sentence if the schedule has no place for all that the settings ask for, with which the
  study is refused; `batch_norm_only`: likewise, if it cannot do without batch norm.
- `iterative`, `locality`, `structure`, `criterion`: what it is in the words of the Adversarial Pruning Benchmark.
- `pattern`: of how many consecutive weights how many stay (None by default); `Patterned` has it from its `granularity`.
- `trains`, for a method that needs a schedule: `"scores"` (default), or `"weights"`, which then move by the
  optimiser, learning rate and clipping of `training.finetune`.
- `traces`: True, if its pruner's `trace` gives quantities worth a figure.

A field `eps` (`Radius | None`) in `Params` asks for the study's threat, which is then in `batch.threat`.
"""
