"""The geometry of threats, and the searches that attacks are made of."""
