"""Tasks on pairs of texts: one output step of a translation over its source."""
