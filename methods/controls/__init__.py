"""Controls: attributions that a method must beat, and upper bounds from the truth or from a search of the model."""
