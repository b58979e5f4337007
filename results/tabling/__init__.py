"""Tables of rows: published, measured, and the difference."""
