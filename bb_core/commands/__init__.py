"""The core's own commands of `bb`, a file each."""
