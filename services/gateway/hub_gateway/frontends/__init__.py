"""The transports that clients use. They move bytes and know where a message stops; what it means is `routing`'s."""
