"""Does training on generated images help a classifier?"""
