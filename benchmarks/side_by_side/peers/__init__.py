"""The gateways that are compared: one file for each, and what it is made from in a folder of its name."""
