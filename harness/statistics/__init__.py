"""Statistics of a leaderboard: intervals, paired tests, agreement of methods, rank correlation of metrics."""
