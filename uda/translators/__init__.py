"""F2: image and label translators, one method a file (contract: `base`)."""
