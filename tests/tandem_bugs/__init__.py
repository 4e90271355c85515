"""A controller with bugs, for the lab: the product, with code that fails on some objects."""
