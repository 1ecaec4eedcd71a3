"""Backbones: what reads a spectrum before the branches do."""
