"""The storage, splits, batches, augmentation and downloads of data sets."""
