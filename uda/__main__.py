"""`python -m uda` is the same program as `uda` (for `accelerate launch -m uda`)."""

from uda.cli import main

if __name__ == "__main__":
    main()
