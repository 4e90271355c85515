"""What is done to a guest: the rules about it, how it is stopped, and the domain it is run as."""
