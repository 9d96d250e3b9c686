"""A study: its configuration, its networks, and what each job reads of it. Imports no torch."""
