"""Recipes: locks, elections, counters, caches and the like, built on the client.

Every recipe is made as `Recipe(zk, path, ...)`. One call has one total `timeout` in seconds. What is held knows whether
it still is: see `corral.recipes.held`.
"""
