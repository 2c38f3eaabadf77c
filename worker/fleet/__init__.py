"""A fleet's worker: finds out which targets there are, and brings all of them to what is wanted, several at once.

Any number of workers share a fleet through the home half alone. Each claims a few due targets, brings them, and says
what came of it. A target's own lock and fence decide what is right, as for a single target; nothing here is needed for
that, and whatever is lost here is found out again.
"""
