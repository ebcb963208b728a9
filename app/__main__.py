"""`python -m app` is `tidemark`, also where no script is installed."""

from app.cli import main

if __name__ == "__main__":
    main()
