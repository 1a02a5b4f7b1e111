"""F0: what every floor above stands on; imports no torch."""
