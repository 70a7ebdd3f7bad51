"""Finetuning of the last layers, and the first models that some selectors need."""
