"""Import and export of networks: names of tensors, file formats, and entries of a benchmark."""
