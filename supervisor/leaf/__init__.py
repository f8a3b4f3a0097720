"""What a child can be: an async function in this process, an OS command, an async function in a process of its own."""
