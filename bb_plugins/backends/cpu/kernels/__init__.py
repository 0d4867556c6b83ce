"""Compiled loops: they take C-contiguous arrays, write into arrays that are passed, and neither allocate nor raise.

Sizes and types are checked by whoever calls them; a kernel trusts what it is given.
"""
