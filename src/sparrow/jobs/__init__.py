"""A job of the workflow as it runs: its process, signals, resume points, journal and costs."""
