"""What is trained on: one file per data set.

Each file declares `Params`, `SHAPE` (channels, height, width) and `CLASSES`, and defines `load(params)`, which returns
all images as uint8 (n, channels, height, width), their labels as int64 (n,), and the value that stands for white.
"""
