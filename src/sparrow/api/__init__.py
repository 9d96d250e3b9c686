"""Sparrow from Python: what is called, what is given, and what comes back."""
