"""Machine translation tasks: one output step of a translation is explained over its source."""
