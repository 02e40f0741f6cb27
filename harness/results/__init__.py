"""What a run leaves on disk: cells and their scores, the run file, archives, samples, and the provenance of numbers."""
