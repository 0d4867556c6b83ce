"""First-party plugins. They come in by the same door as a stranger's, and import only the public names of bb_core."""
