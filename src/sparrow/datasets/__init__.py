"""The data sets: one file each.

Each file declares `Params`, and defines `describe(params)`, which returns the images' shape and number of classes without
reading one (a `Description`), and `load(params)`, which returns the images (a `Source`); both types are in data/source.py.
Where a data set has an official test set, `Params` builds on `HeldOut`, which holds images out of the training set for
validation (on `Downloaded`, if it is a public one, which `fetch` downloads); where it has none, on `SplitParams`, which draws
the test images, too.

Optionally, a file defines `IMAGES`, the numbers of images if they are known beforehand, as a pair: those of the training set
and of the official test set, or all and None if there is none; and `files(params)`, the paths of the user's own files: if one
of them changes, the data set is made anew. (Files that are checked against a publisher's digest do not change.)
"""
