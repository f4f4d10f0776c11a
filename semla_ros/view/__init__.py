"""The browser page and the Foxglove server of ``semla view``."""
