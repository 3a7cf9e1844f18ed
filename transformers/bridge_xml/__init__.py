"""Placeholder while this package is written."""
