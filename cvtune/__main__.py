"""``python -m cvtune`` is `cvtune`."""

from cvtune.cli import main

if __name__ == "__main__":
    main()
