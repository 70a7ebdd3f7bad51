"""Checks of the theory: distortion of sketches, tightness of bounds, agreement of moments."""
