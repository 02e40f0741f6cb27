"""Benchmark harness: runs grids, stores results, and publishes leaderboards."""
