"""The models of a route spec: one file for each of its blocks, and `route.RouteSpec`, which holds them."""
