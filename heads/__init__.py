"""Task heads: each is built from a backbone's `feature_info`, never from its class."""
