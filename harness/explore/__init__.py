"""Looking at single things: plug-ins, tasks, explanations, conformance checks and downloads."""
