"""One self-contained page about a choice: no script, no font, no picture from elsewhere."""
