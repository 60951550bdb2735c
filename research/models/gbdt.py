"""Gradient boosting with trees that grow level by level, each node with a question of its own: Friedman's (2001), and
with Hessians in the scores XGBoost's (Chen & Guestrin 2016). The Model is that of gbdt_oblivious."""

from research.models.gbdt_oblivious import PROGRAM as PROGRAM
from research.models.gbdt_oblivious import make as make
