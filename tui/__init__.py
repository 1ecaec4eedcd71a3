"""The screen: asks the torch-free half of the engine and starts processes; never imports torch."""
