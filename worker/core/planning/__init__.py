"""What a database needs: the plan, its job and its requirement."""
