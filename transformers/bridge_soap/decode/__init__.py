"""XML to JSON: decoders, each made once per type."""
