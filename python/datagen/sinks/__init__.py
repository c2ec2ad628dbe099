"""Where data goes. Each sink imports its own driver, when it first needs it."""
