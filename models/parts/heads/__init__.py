"""Heads: what gives the labels."""
