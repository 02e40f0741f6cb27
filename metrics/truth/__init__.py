"""Agreement with the known truth of a task."""
