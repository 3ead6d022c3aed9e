"""python -m annotate"""

from annotate.cli import main

if __name__ == "__main__":
    main()
