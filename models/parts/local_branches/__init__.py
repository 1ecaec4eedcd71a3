"""Local branches: what sees lines."""
