"""The kinds, one module each: what people write, and what is stored. ``registry`` lists them."""
