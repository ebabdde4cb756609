"""Settings: one typed struct a group, every bound in one place, and how they are read.

What a setting does belongs to whoever uses it; here stand its name, type, default and limits. Nothing of the project is
imported.
"""
