"""The site's sources: pages, executed notebooks, methods and evidence, laid out for Sphinx."""
