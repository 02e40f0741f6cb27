"""Statistics of a leaderboard: confidence intervals, paired tests, agreement of methods, rank correlation of metrics.

The intervals and the bootstrap are in :mod:`.estimates`, the variances behind them in :mod:`.variance_components`.
"""
