"""`bench predict`: masks of a user's own images, as PNG, overlay and JSON."""
