"""What networks are made of, and what may be pruned in them."""
