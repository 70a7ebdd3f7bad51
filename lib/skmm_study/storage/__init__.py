"""What the study keeps: whole files, keys of all a result depends on, arrays, a grid of cells."""
