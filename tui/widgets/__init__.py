"""Widgets that screens are made of; they hold ids and view state, never the runs themselves."""
