"""Global branches: what sees far, the continuum above all."""
