"""The protocol of a pruner, and what methods are made of: masks, scores, shares."""
