"""Steps of a cell: building the model, explaining, scoring, with their time and memory."""
