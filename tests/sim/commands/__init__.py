"""What a scenario's commands do to a world; ``play.verbs`` says which function each is."""
