"""How data sets are stored, split, drawn and fetched."""
