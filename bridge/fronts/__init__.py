"""The client protocols: how clients speak to any service, one file each. They enter by the entry points
``bridge.fronts``, and `bridge.fronts.publish` puts them in front of a route's operations."""
