"""What makes the controller go: the store, the loop that plans, and what carries plans out."""
