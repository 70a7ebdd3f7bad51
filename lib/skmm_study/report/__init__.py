"""Tables of results: Markdown, published numbers, paired differences, the catalogue."""
