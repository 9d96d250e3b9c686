"""The data sets: one file each. `datasets/my_images.py` is the data set `my-images`.

A file defines `Params`, `describe(params)`, which returns the images' shape and number of classes without reading one
(a `sparrow.data.source.Description`), and `load(params)`, which returns the images (a `sparrow.data.source.Source`). Where a
data set has an official test set, `Params` derives from `sparrow.data.split.HeldOut`, which holds images out of the
training set for validation (from `sparrow.data.download.Downloaded`, if it is a public one, which `fetch` downloads);
where it has none, from `sparrow.data.split.SplitParams`, which draws the test images, too.

`Params` says, besides the data set's settings:

- `images`: the numbers of images, if they are known beforehand, as a pair: of the training set and of the official
  test set, or all and None if there is none (None by default, if they are not known). `sparrow cost` needs
  it for a data set that has not been prepared.

A file may define `files(params)`, the paths of the user's own files: if one of them changes, the data set is made anew.
(Files that are checked against a publisher's digest do not change.) Where these are folders or zips with a folder of images for
each class, of the training images and then of official test images, `SUFFIXES`, a tuple of their names' endings, lets
`sparrow cost` count them before they are read.
"""
