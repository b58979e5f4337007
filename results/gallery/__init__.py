"""Pictures of predictions: contact sheets, the tiles they are made of, and where each lies."""
