"""Rankings of features by their attribution: ties, rank correlations and retrieval statistics."""
