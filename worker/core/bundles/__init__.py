"""Migrations and the bundles that carry them: names, digests, seals and what is wanted."""
