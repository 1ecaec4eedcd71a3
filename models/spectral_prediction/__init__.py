"""One file per network; a file dropped here is found by the registry and by `engine.catalog`."""
