"""How a network is pruned: one file per method.

Each file declares `Params` (from `Method` or one of its kind in `_params.py`, which says whether the method trains), and
defines `prepare(params, ratio, generator)`, which returns a `Pruner` (see `_pruner.py`). A pruner sees plain weights and
their gradients; one with a loss of its own also sees the batch. It does not know what the objective is.
"""
