"""How a network is pruned: one file per method.

Each file declares `Params` and `LEARNS` (whether the method trains on the objective or looks at the weights alone), and
defines `prepare(params, ratio, generator)`, which returns a `Pruner` (see `_pruner.py`). A pruner sees plain weights and
their gradients. It has never heard of attacks, bounds or objectives.
"""
