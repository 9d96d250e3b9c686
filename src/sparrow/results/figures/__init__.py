"""The report's figures: one file each, with one function from tables to an SVG and a PNG of the same picture."""
