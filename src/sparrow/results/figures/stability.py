"""Placeholder while the figure is being written."""
