"""The regression gate: whether the explanations of a run are worse than those of a baseline."""
