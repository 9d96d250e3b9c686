"""The study's tables, from its outcome tables to one summary, and the figures and pages made from them. Imports no torch."""
