"""From outcome tables to one tidy summary, and from there to figures and tables. Imports no torch."""
