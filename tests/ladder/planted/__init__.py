"""The bugs that the rungs of the ladder must find: a file a rung, each with its ``PLANTS``."""
