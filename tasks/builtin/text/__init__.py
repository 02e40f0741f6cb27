"""Tasks on words: sentiment and topics, and what their texts have in common."""
