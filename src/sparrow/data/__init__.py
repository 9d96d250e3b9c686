"""What is trained on: one file per data set.

Each file declares `Params`, and defines `describe(params)`, which says what the images are without reading one (a
`Description`), and `load(params)`, which returns them (a `Source`); both are in `_source.py`. Where a data set has an
official test set, `Params` builds on `HeldOut`, which holds images out of the training set for validation; where it has
none, on `SplitParams`, which draws the test images, too.
"""
