"""What the parts of our own gateway cost alone: each a program that runs on the core of the gateways."""
