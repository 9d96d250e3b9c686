"""The commands of `sparrow`: one file per command (`main.py` runs them)."""
