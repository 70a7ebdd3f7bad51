"""What all parts rest on: checks at the public edge, random streams."""
