"""What the controller decides about a mirror itself, apart from where its guest runs."""
