"""Roles, rights and settings: what is amiss, and what to do about it."""
