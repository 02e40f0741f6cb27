"""Text classification tasks: sentiment and topics."""
