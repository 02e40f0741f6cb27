"""Results on disk: cells and their scores, the run file, archives, samples of tasks, and provenance."""
