"""What a planner can call, and how a document leaves."""
