"""Fusions: what joins the two branches."""
