"""Rows, the folder that keeps them, and the tables and figures made of them."""
