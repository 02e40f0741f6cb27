"""The networks that tasks train, their training, and the cache of trained weights."""
