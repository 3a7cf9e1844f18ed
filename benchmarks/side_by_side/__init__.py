"""The gateway beside those that people would use in its stead: same upstream, same bodies, one core each, in turn."""
