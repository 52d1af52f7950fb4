"""The words of kartotek, and the ground that all its parts stand on."""
