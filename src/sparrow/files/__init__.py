"""The files of a study: their paths, headers and contents, and how they are read and written."""
