"""What lies on disk: where, and how it is read and written."""
