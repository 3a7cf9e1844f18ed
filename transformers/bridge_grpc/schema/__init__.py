"""Where a service's descriptors come from, and the pool they end in: protos, descriptor sets, reflection."""
