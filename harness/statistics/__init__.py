"""Statistics of a board: confidence intervals, paired tests, and how far methods and metrics agree."""
