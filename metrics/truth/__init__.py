"""Truth metrics: agreement of an attribution with the known truth of a task."""
