"""What is trained on: one file per data set. `datasets/my_images.py` is the data set `my-images`.

A file defines `Params`, `describe(params)`, which says what the images are without reading one (a
`sparrow.data.source.Description`), and `load(params)`, which returns them (a `sparrow.data.source.Source`). Where a
data set has an official test set, `Params` derives from `sparrow.data.split.HeldOut`, which holds images out of the
training set for validation (from `sparrow.data.download.Downloaded`, if it is a public one, which `fetch` gets);
where it has none, from `sparrow.data.split.SplitParams`, which draws the test images, too.

`Params` says, besides the data set's settings:

- `images`: how many images there are, if that is known beforehand, as a pair: those of the training set and of the
  official test set, or all and None where there is none (None by default, if it is not known). `sparrow cost` needs
  it for a data set that has not been prepared.

A file may define `files(params)`, the paths of the user's own files, which may change: where they do, the data set is
made anew. (What is checked against a publisher's digest does not change.)
"""
