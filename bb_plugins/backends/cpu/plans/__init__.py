"""Plans: a graph whose shapes are known, as a list of kernels with their memory, run without Python in between."""
