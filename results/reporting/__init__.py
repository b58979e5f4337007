"""All tables and figures at once: written, checked against what is stored, kept apart by machine."""
