"""XML to JSON: decoders made once for each type."""
