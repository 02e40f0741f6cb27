"""Orders of features by their attribution: ranks, ties, and rank statistics."""
