"""The client: a synchronous core that keeps a session, and the asyncio and blocking shells around it."""
