"""The document that may change while the gateway runs: its model, the way from files to it, and its placeholders."""
