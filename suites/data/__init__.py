"""Readers, protocols, transforms and the demo data."""
