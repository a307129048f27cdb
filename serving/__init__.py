"""How others call us: as LangChain tools, over MCP, over HTTP, and through a page for people."""
