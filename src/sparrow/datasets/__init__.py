"""What is trained on: one file per data set.

Each file declares `Params`, and defines `describe(params)`, which says what the images are without reading one (a
`Description`), and `load(params)`, which returns them (a `Source`); both are in `_source.py`. Where a data set has an
official test set, `Params` builds on `HeldOut`, which holds images out of the training set for validation (on `Downloaded`,
if it is a public one, which `fetched` gets); where it has none, on `SplitParams`, which draws the test images, too.

Two things a file may define: `IMAGES`, if it is known beforehand how many there are, as a pair: those of the training set and
of the official test set, or all and None where there is none; and `files(params)`, the paths of the user's own files, which may
change: where they do, the data set is made anew. (What is checked against a publisher's digest does not change.)
"""
