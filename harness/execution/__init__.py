"""Running a grid: what is missing, building models, explaining and scoring cells, and publishing the result."""
