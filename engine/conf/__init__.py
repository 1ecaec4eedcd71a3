"""Confs: what a run is to do. Schema, YAML with marks, composition, overrides, form fields. No torch."""
