"""Bounds on margins: the bridge to auto_LiRPA, what holds its bounds against the network, and splitting."""
