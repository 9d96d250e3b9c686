"""Sparrow: what is left of a robust network after pruning.

`sparrow` knows *how* (data, models, objectives, pruning, attacks, verification, results); the Snakemake
workflow beside it decides *what* runs. This package never imports snakemake.
"""
