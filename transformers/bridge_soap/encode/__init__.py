"""JSON to XML: encoders made once for each type."""
