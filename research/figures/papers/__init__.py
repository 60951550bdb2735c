"""Figures and tables of papers, one a file; research/reproduce/__init__.py says what is in one."""
