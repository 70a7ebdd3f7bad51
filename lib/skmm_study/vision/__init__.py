"""Images in, cached feature and activation arrays out: Stanford Cars, its stand-in, backbones."""
