"""F2: segmentation networks, one method a file (contract: `base`)."""
