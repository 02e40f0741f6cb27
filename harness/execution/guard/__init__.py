"""Guard of plug-in calls: limits of time and memory, and a process that is left as it was."""
