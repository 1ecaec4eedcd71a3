"""Training: the loop and what it is made of. The only part of the engine that imports torch."""
