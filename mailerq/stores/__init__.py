"""Message stores: bodies by key, behind ``interfaces.IMessageStore``."""
