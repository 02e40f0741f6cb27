"""Running a model on many perturbed inputs: calling conventions, batching, isolation, shared prefixes, and cost."""
