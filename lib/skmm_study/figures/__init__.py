"""How figures look, and the figures that several notebooks draw."""
