"""Real processes, terminals and files, on the real clock, each asynchronous test on trio and on asyncio."""
