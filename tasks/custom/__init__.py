"""Tasks made of a user's own model, arrays, CSV file or parallel text."""
