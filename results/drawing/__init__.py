"""Figures of rows."""
