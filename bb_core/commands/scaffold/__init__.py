"""What `bb new` writes: the text of a package, with `$name` and the like where its own names stand."""
