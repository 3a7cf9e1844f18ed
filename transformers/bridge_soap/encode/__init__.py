"""JSON to XML: encoders, each made once per type."""
