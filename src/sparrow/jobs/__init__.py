"""How a job of the workflow runs: its process, signals, resume points, journal and costs."""
