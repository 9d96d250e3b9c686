"""A network with fixed weights, evaluated fast and often."""
