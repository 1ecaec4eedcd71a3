"""The run folder: layout, events, process identity, derived state. The truth that everything else reads."""
