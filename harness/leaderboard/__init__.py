"""The leaderboard as a value: entries, means over tasks, standings and comparisons, before any formatting."""
