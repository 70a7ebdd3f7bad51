"""Sentences in, embeddings out: labelled queries, pretrained encoders, compact pools."""
