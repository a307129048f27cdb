"""The one loop: a LangGraph graph that drafts, paints and remembers."""
