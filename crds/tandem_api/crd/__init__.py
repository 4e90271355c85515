"""What the API server is given: schemas, columns, rules in CEL, policies; and what writes them."""
