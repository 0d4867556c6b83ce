"""Compiled loops. They take C-contiguous arrays, write into arrays that are passed for it, and neither allocate nor raise.

Sizes and types are checked by whoever calls them; a kernel trusts what it is given.
"""
