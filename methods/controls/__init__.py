"""Controls: explanations that a method must beat, and one that none can beat."""
