"""Methods made for sequences: what each step added, what time does to importance, masks learned over time."""
