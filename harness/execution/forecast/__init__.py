"""Forecast of a grid's cost before it runs: passes and seconds of every piece, this machine's speed, the schedule."""
