"""Recipes: whole programs, ready to run."""
