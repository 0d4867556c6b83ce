"""`bb up`: a federation of real processes on one machine."""
